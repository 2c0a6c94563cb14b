package storagetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

var embeddedClauses = []Clause{
	{"EMBEDDED-01", "Everything set exists after a restart: paths, times, revisions, and data byte for byte.", onEmbedded(embeddedSurvives)},
	{"EMBEDDED-02", "What was deleted stays deleted after a restart.", onEmbedded(embeddedDeletes)},
	{"EMBEDDED-03", "After a restart a path holds the newest of its writes.", onEmbedded(embeddedNewest)},
	{"EMBEDDED-04", "What was cleared stays cleared after a restart.", onEmbedded(embeddedClear)},
	{"EMBEDDED-05", "Load returns every object completely, under its path.", onEmbedded(embeddedLoad)},
	{"EMBEDDED-06", "Load of an empty layer is an empty map; of one that is not started, ErrNotActive.", embeddedLoadEmpty},
	{"EMBEDDED-07", "A value that cannot be decoded is an error of Load that names its key.", onEmbedded(embeddedCorruptLoad)},
	{"EMBEDDED-08", "A value that cannot be decoded is an error of Get and GetList, and not an absent object.", onEmbedded(embeddedCorruptRead)},
	{"EMBEDDED-09", "A value that cannot be decoded makes Start of a store fail with its key in the error.", onEmbedded(embeddedCorruptStart)},
	{"EMBEDDED-10", "A value that cannot be decoded ends a Scan with an error that names its key.", onEmbedded(embeddedCorruptScan)},
	{"EMBEDDED-11", "A second instance on a directory in use fails with ErrInUse and does not affect the first.", onEmbedded(embeddedExclusive)},
	{"EMBEDDED-12", "Objects that Load returned are unaffected by later writes.", onEmbedded(embeddedLoadOwned)},
	{"EMBEDDED-13", "An expired object is kept and returned like any other until it is deleted.", onEmbedded(embeddedExpired)},
	{"EMBEDDED-14", "Get of a value that cannot be decoded returns ErrUndecodable. Set and Del of exactly its key replace and remove it, also in a store that loads nothing.", onEmbedded(embeddedCorruptWayOut)},

	{"EMBEDDED-20", "Commit applies the changes of a batch in their order.", onBatcher(batchOrder)},
	{"EMBEDDED-21", "Commit is atomic: if it returns an error, nothing of the batch was written.", onBatcher(batchRefused)},
	{"EMBEDDED-22", "Commit is atomic for readers: a list shows all of a batch or nothing.", onBatcher(batchAtomic)},
	{"EMBEDDED-23", "A delete of an absent key in a batch is not an error.", onBatcher(batchDelAbsent)},
	{"EMBEDDED-24", "Commit keeps no reference to its changes and does not modify them.", onBatcher(batchCopies)},
	{"EMBEDDED-25", "Everything committed exists after a restart, deletes and clears included.", onBatcher(batchSurvives)},
	{"EMBEDDED-26", "LastRevision is the highest that was committed, 0 for none.", onBatcher(batchRevision)},
	{"EMBEDDED-27", "LastRevision survives a restart, also if the object was deleted or everything was cleared.", onBatcher(batchRevisionSurvives)},
	{"EMBEDDED-28", "Commit and LastRevision of a layer that is not started return ErrNotActive.", batchInactive},
	{"EMBEDDED-29", "A batch stores its objects completely: both times, the revision, and data byte for byte.", onBatcher(batchWhole)},
	{"EMBEDDED-30", "An object of a layer without a revision gets one in a store above it, which conditions can name, and keeps it over a restart.", onBatcher(batchKeepsRevisions)},
	{"EMBEDDED-31", "A change with neither a key nor a clear, or with both, is rejected, and nothing is removed.", onBatcher(batchNoChange)},

	{"EMBEDDED-40", "Scan of an empty pattern yields everything, in the order of (Parent, Index) as bytes.", onScanner(scanOrder)},
	{"EMBEDDED-41", "Scan yields what its pattern matches and nothing else.", onScanner(scanPattern)},
	{"EMBEDDED-42", "Scan reads one consistent snapshot: it does not show what is written while it runs.", onScanner(scanSnapshot)},
	{"EMBEDDED-43", "A write does not wait for a scan in progress.", onScanner(scanWriters)},
	{"EMBEDDED-44", "A scan may end early. The layer remains usable and can be closed.", onScanner(scanEarly)},
	{"EMBEDDED-45", "The objects of a scan belong to the caller: later writes do not change them, and changes of them do not affect the layer.", onScanner(scanOwned)},
	{"EMBEDDED-46", "Scan of a layer that is not started yields ErrNotActive and nothing else.", scanInactive},
	{"EMBEDDED-47", "Scan of an invalid pattern yields an error and nothing else.", onScanner(scanInvalid)},
	{"EMBEDDED-50", "SizeHint is never negative, also before Start and after Close.", sizeHint},

	{"EMBEDDED-60", "Check of an intact layer reports nothing and counts its objects.", offering[storage.Checker](checkSound)},
	{"EMBEDDED-61", "Check reports each value that cannot be decoded with its key in quotes, and continues after it.", offering[storage.Checker](checkDamaged)},
	{"EMBEDDED-62", "Compact does not change any result of a read.", offering[storage.Compacter](compactKeeps)},
	{"EMBEDDED-63", "Reads and writes continue while a layer compacts.", offering[storage.Compacter](compactBesideWrites)},
	{"EMBEDDED-64", "After MarkIncomplete the next Start fails with ErrIncomplete and the newest reason, and holds nothing open.", offering[storage.IncompleteMarker](markRefuses)},
	{"EMBEDDED-65", "AllowIncomplete opens a marked layer with its content, and keeps the mark.", offering[storage.IncompleteMarker](markAllowed)},
	{"EMBEDDED-66", "MarkIncomplete with an empty reason removes the mark, and succeeds without one.", offering[storage.IncompleteMarker](markTakenAway)},
	{"EMBEDDED-67", "The mark of an incomplete layer is not part of its content: no read shows it, no clear removes it.", offering[storage.IncompleteMarker](markIsNoContent)},
	{"EMBEDDED-68", "Check, Compact and MarkIncomplete of a layer that is not started return ErrNotActive.", upkeepInactive},
	{"EMBEDDED-69", "Check and Compact return the error of a context that is done.", onEmbedded(upkeepContext)},
	{"EMBEDDED-70", "ID is not 0, is the same after a restart and a clear, and differs from that of another store.", offering[storage.Identified](idStays)},
}

// reopener is a started layer that can be closed and reopened.
type reopener struct {
	storage.EmbeddedLayer
	s   *subject
	dir string
}

// onEmbedded returns the run of a clause that needs a started, empty layer.
func onEmbedded(check func(t T, s *subject, l *reopener)) func(T, *subject) {
	return func(t T, s *subject) {
		t.Helper()
		l := &reopener{s: s, dir: t.TempDir()}
		l.open(t)
		check(t, s, l)
	}
}

// open starts another instance on the directory.
func (l *reopener) open(t T) {
	t.Helper()
	l.EmbeddedLayer = l.s.openEmbedded(t, l.dir)
	startLayer(t, l.EmbeddedLayer)
}

// reopen closes the layer and starts another instance on its directory.
func (l *reopener) reopen(t T) {
	t.Helper()
	l.Close()
	l.open(t)
}

// corrupt damages a key of the closed layer, or returns false if that is not possible.
func (l *reopener) corrupt(t T, path string) bool {
	if l.s.Corrupt == nil {
		t.Logf("no Corrupt function: nothing is checked")
		return false
	}
	l.Close()
	l.s.Corrupt(t, l.dir, path)
	return true
}

// oddObjects returns objects that a faulty codec would change.
func oddObjects() []meta.Object {
	data := []string{
		`{"a":1}`, ` { "b" : 2 } `, "[\n1,\t2 ]", `"\u00e9é<&>"`, `1e400`, `null`, `{"a":1,"a":2}`,
		"\"\u2028\"", `"` + strings.Repeat("long ", 2000) + `"`, `12345678901234567890.000`,
	}
	all := make([]meta.Object, 0, len(data))
	for i, d := range data {
		obj := object(fmt.Sprintf("odd/%d/x", i), int64(i-3)*1_000_000_007)
		obj.Updated = int64(i%3) * 1_700_000_000_123_456_789
		obj.Revision = uint64(i) << 33
		obj.Data = json.RawMessage(d)
		all = append(all, obj)
	}
	return all
}

func embeddedSurvives(t T, _ *subject, l *reopener) {
	want := oddObjects()
	for i, path := range tree {
		want = append(want, object(path, int64(i+1)))
	}
	for _, obj := range want {
		put(t, l, obj)
	}
	l.reopen(t)
	wantContent(t, l, want...)
	l.Close()
	must(t, "Start of the same instance", l.Start(storage.LayerOptions{}))
	wantContent(t, l, want...)
}

func embeddedDeletes(t T, _ *subject, l *reopener) {
	for i := range int64(6) {
		put(t, l, object(fmt.Sprintf("a/%d", i), i+1))
	}
	must(t, "Del", l.Del("a/1"))
	must(t, "Del", l.Del("a/3"))
	l.reopen(t)
	must(t, "Del", l.Del("a/5"))
	l.reopen(t)
	wantContent(t, l, object("a/0", 1), object("a/2", 3), object("a/4", 5))
}

func embeddedNewest(t T, _ *subject, l *reopener) {
	for i := range int64(10) {
		put(t, l, object("a/b", i+1))
	}
	l.reopen(t)
	wantObject(t, l, object("a/b", 10))
	put(t, l, object("a/b", 3))
	l.reopen(t)
	wantObject(t, l, object("a/b", 3))
}

func embeddedClear(t T, _ *subject, l *reopener) {
	for i, path := range tree {
		put(t, l, object(path, int64(i)))
	}
	l.Clear()
	put(t, l, object("b", 2))
	l.reopen(t)
	wantContent(t, l, object("b", 2))
}

// wantLoaded checks the complete result of Load.
func wantLoaded(t T, l storage.EmbeddedLayer, want []meta.Object) {
	t.Helper()
	loaded, err := l.Load()
	must(t, "Load", err)
	if len(loaded) != len(want) {
		t.Errorf("Load has %d objects, want %d", len(loaded), len(want))
	}
	for _, obj := range want {
		got := loaded[obj.Path]
		if got == nil {
			t.Errorf("Load has nothing at %s", short(obj.Path))
			continue
		}
		// The map's key is the path. A layer need not repeat it in the object.
		whole := *got
		whole.Path, whole.Index = obj.Path, obj.Index
		if d := diff(whole, obj); d != "" {
			t.Errorf("Load, %s: %s", short(obj.Path), d)
		}
	}
}

func embeddedLoad(t T, _ *subject, l *reopener) {
	want := oddObjects()
	for i, path := range tree {
		want = append(want, object(path, int64(i)))
	}
	for _, obj := range want {
		put(t, l, obj)
	}
	wantLoaded(t, l, want)
}

func embeddedLoadEmpty(t T, s *subject) {
	l := s.openEmbedded(t, t.TempDir())
	_, err := l.Load()
	wantErr(t, "Load before Start", err, storage.ErrNotActive)
	startLayer(t, l)
	loaded, err := l.Load()
	must(t, "Load", err)
	if loaded == nil || len(loaded) != 0 {
		t.Errorf("Load of an empty layer is %#v, want an empty map, not nil", loaded)
	}
	l.Close()
	_, err = l.Load()
	wantErr(t, "Load after Close", err, storage.ErrNotActive)
}

// damaged fills a layer and damages one of its keys.
func damaged(t T, l *reopener) (path string, ok bool) {
	t.Helper()
	for i, path := range tree {
		put(t, l, object(path, int64(i)))
	}
	return "users/10", l.corrupt(t, "users/10")
}

// wantNamed checks that an error names a key.
func wantNamed(t T, what string, err error, path string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s over a corrupt value of %q: no error", what, path)
	} else if !strings.Contains(err.Error(), path) {
		t.Errorf("%s over a corrupt value: error %q does not name the key %q", what, err, path)
	}
}

// startDamaged opens a damaged layer. An engine may detect the damage already then.
func startDamaged(t T, l *reopener, path string) bool {
	t.Helper()
	l.EmbeddedLayer = l.s.openEmbedded(t, l.dir)
	if err := l.Start(storage.LayerOptions{}); err != nil {
		wantNamed(t, "Start", err, path)
		return false
	}
	t.Cleanup(l.Close)
	return true
}

func embeddedCorruptLoad(t T, _ *subject, l *reopener) {
	path, ok := damaged(t, l)
	if !ok || !startDamaged(t, l, path) {
		return
	}
	_, err := l.Load()
	wantNamed(t, "Load", err, path)
}

func embeddedCorruptRead(t T, _ *subject, l *reopener) {
	path, ok := damaged(t, l)
	if !ok || !startDamaged(t, l, path) {
		return
	}
	_, err := l.Get(path)
	wantNamed(t, "Get", err, path)
	if errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get of a corrupt value: error %q is ErrNotFound", err)
	}
	_, err = l.GetList("users/*")
	wantNamed(t, "GetList", err, path)
	wantObject(t, l, object("users/2", int64(slices.Index(tree, "users/2"))))
}

func embeddedCorruptStart(t T, _ *subject, l *reopener) {
	path, ok := damaged(t, l)
	if !ok {
		return
	}
	db := storage.New(storage.LayeredConfig{
		Memory:     storage.NewMemoryLayer(),
		Persistent: l.s.openEmbedded(t, l.dir),
	})
	err := db.Start(quiet(storage.Options{}))
	wantNamed(t, "Start of a store", err, path)
	if db.Active() {
		t.Errorf("the store is active after Start failed")
		db.Close()
	}
}

func embeddedCorruptScan(t T, _ *subject, l *reopener) {
	path, ok := damaged(t, l)
	if !ok || !startDamaged(t, l, path) {
		return
	}
	scanner, ok := storage.As[storage.Scanner](l.EmbeddedLayer)
	if !ok {
		return
	}
	var last error
	for _, err := range scanner.Scan("") {
		if last != nil {
			t.Errorf("Scan goes on after error %q", last)
		}
		last = err
	}
	wantNamed(t, "Scan", last, path)
}

func embeddedCorruptWayOut(t T, _ *subject, l *reopener) {
	path, ok := damaged(t, l)
	if !ok || !startDamaged(t, l, path) {
		return
	}
	if _, err := l.Get(path); !errors.Is(err, storage.ErrUndecodable) {
		t.Errorf("Get of a corrupt value: error %v, want ErrUndecodable", err)
	}
	const set, del = "users/a1", "users/2"
	l.corrupt(t, set)
	l.s.Corrupt(t, l.dir, del)
	l.open(t)
	must(t, "Set", l.Set(set, new(object(set, 7))))
	wantObject(t, l, object(set, 7))
	must(t, "Del", l.Del(del))
	if _, err := l.Get(del); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get after Del of a corrupt value: error %v, want ErrNotFound", err)
	}
	// The same through a store that loads nothing and reads the existing entry before a write.
	l.Close()
	db := storage.New(storage.LayeredConfig{Persistent: l.s.openEmbedded(t, l.dir)})
	must(t, "Start", db.Start(quiet(storage.Options{})))
	_, err := db.SetWith(path, json.RawMessage(`1`), storage.SetOptions{IfAbsent: true})
	wantNamed(t, "SetWith of a store, if there is nothing", err, path)
	_, err = db.Set(path, json.RawMessage(`{"new":1}`))
	must(t, "Set of a store", err)
	obj, err := db.Get(path)
	if err != nil || string(obj.Data) != `{"new":1}` || obj.Created < 100 || obj.Updated != 0 {
		t.Errorf("after Set of a store over a corrupt value there is %+v, %v, want a new object", obj, err)
	}
	db.Close()
	l.s.Corrupt(t, l.dir, path)
	must(t, "Start", db.Start(quiet(storage.Options{})))
	defer db.Close()
	must(t, "Del of a store", db.Del(path))
	if _, err := db.Get(path); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("after Del of a store of a corrupt value Get is %v, want ErrNotFound", err)
	}
}

func embeddedExclusive(t T, s *subject, l *reopener) {
	if !s.Exclusive {
		t.Logf("not Exclusive: nothing is checked")
		return
	}
	put(t, l, object("a/b", 1))
	second := s.openEmbedded(t, l.dir)
	if err := second.Start(storage.LayerOptions{}); err == nil {
		second.Close()
		t.Fatalf("Start of a second instance on the directory in use: no error")
	} else if !errors.Is(err, storage.ErrInUse) {
		t.Errorf("Start of a second instance on the directory in use: %v, want ErrInUse", err)
	}
	if second.Active() {
		t.Errorf("the second instance is active after its Start failed")
	}
	put(t, l, object("a/c", 2))
	wantContent(t, l, object("a/b", 1), object("a/c", 2))
	l.Close()
	startLayer(t, second)
	wantContent(t, second, object("a/b", 1), object("a/c", 2))
}

func embeddedLoadOwned(t T, _ *subject, l *reopener) {
	want := []meta.Object{object("a/b", 1), object("a/c", 2), object("a/d", 3)}
	for _, obj := range want {
		put(t, l, obj)
	}
	loaded, err := l.Load()
	must(t, "Load", err)
	put(t, l, object("a/b", 8))
	must(t, "Del", l.Del("a/c"))
	l.Clear()
	for i := range int64(100) {
		put(t, l, object(fmt.Sprintf("fill/%d", i), i))
	}
	for _, obj := range want {
		got := loaded[obj.Path]
		if got == nil {
			t.Errorf("Load has nothing at %s", obj.Path)
			continue
		}
		whole := *got
		whole.Path, whole.Index = obj.Path, obj.Index
		if d := diff(whole, obj); d != "" {
			t.Errorf("loaded object %s after later writes: %s", obj.Path, d)
		}
	}
}

// embeddedExpired checks the removal of an expired object. It is a change that the store makes in its commit order, and
// it needs the object.
func embeddedExpired(t T, _ *subject, l *reopener) {
	obj := object("a/b", 5)
	obj.Expires = 1
	put(t, l, obj)
	l.reopen(t)
	wantContent(t, l, obj)
	wantLoaded(t, l, []meta.Object{obj})
	list, err := l.GetList("a/*")
	must(t, "GetList", err)
	wantPaths(t, "GetList of what has expired", paths(list), []string{"a/b"})
	if sc, ok := storage.As[storage.Scanner](l.EmbeddedLayer); ok {
		wantPaths(t, "Scan of what has expired", paths(scanned(t, sc.Scan("a/*"))), []string{"a/b"})
	}
	must(t, "Del of what has expired", l.Del("a/b"))
	wantContent(t, l)
}

func sizeHint(t T, s *subject) {
	l := s.openEmbedded(t, t.TempDir())
	hinter, ok := storage.As[storage.SizeHinter](l)
	if !ok {
		t.Logf("%T is no SizeHinter: nothing is checked", l)
		return
	}
	check := func(when string) {
		if n := hinter.SizeHint(); n < 0 {
			t.Errorf("SizeHint %s is %d, want 0 or more", when, n)
		}
	}
	check("before Start")
	startLayer(t, l)
	check("of an empty layer")
	put(t, l, object("a/b", 1))
	check("of one object")
	l.Close()
	check("after Close")
}
