package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

var quiet = slog.New(slog.DiscardHandler)

// unrevised fills a fake by its plain interface, as software does that knows no revisions.
func unrevised(fake *fakeBatcher) []string {
	for i, path := range []string{"d/c", "d/b", "e/a", "d/e", "d/d"} {
		obj := inUse(path)
		obj.Created = int64(100 - i/2) // d/d, then d/e and e/a, then d/b and d/c
		if path == "d/e" {
			obj.Revision = 7
		}
		fake.objects[path] = obj
	}
	return []string{"d/d", "e/a", "d/b", "d/c"}
}

func revisionsOf(t *testing.T, s *Layered) map[string]uint64 {
	t.Helper()
	all := make(map[string]uint64)
	objects, err := s.GetList("*/*")
	must(t, err)
	for _, obj := range objects {
		all[obj.Path] = obj.Revision
	}
	return all
}

// TestObjectsWithoutRevision reads what the layer has no revision of in all ways, changes it on a condition, and
// starts anew.
func TestObjectsWithoutRevision(t *testing.T) {
	each(t, Options{Logger: quiet}, func(k kind) bool { return k.persistent }, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		s.Close()
		inOrder := unrevised(fake)
		must(t, s.Start(Options{}))
		all := revisionsOf(t, s)
		if all["d/e"] != 7 {
			t.Errorf("the object of revision 7 has %d", all["d/e"])
		}
		last := uint64(7)
		for _, path := range inOrder {
			if all[path] == 0 || all[path] > s.Stats().Revision {
				t.Errorf("%s has revision %d, the store %d", path, all[path], s.Stats().Revision)
			}
			if !k.fromLayer && all[path] <= last {
				t.Errorf("%s has revision %d, behind %d", path, all[path], last)
			}
			last = all[path]
		}
		readsAgree(t, s, all)

		// Of two that read it one wins.
		for _, path := range []string{"d/b", "d/c"} {
			read := object(t, s, path)
			changed, err := s.SetWith(path, []byte("2"), SetOptions{IfRevision: read.Revision})
			if err != nil || changed.Revision <= s.Stats().Revision-1 || changed.Revision <= read.Revision {
				t.Errorf("%s of revision %d is changed to %d: %v", path, read.Revision, changed.Revision, err)
			}
			conflict, ok := errors.AsType[*ConflictError](s.DelWith(path, DelOptions{IfRevision: read.Revision}))
			if !ok || conflict.Expected != read.Revision || conflict.Current != changed.Revision || strings.Contains(conflict.Error(), "no object") {
				t.Errorf("the second change of %s is %v, want a conflict", path, conflict)
			}
		}
		_, err := s.Update("e/a", func(meta.Object) (json.RawMessage, error) { return json.RawMessage("3"), nil })
		must(t, err)
		told := s.Stats().Revision

		all = revisionsOf(t, s)
		restart(t, s)
		again := revisionsOf(t, s)
		for path, revision := range again {
			kept := k.batches || path != "d/d" || k.fromLayer
			if kept && revision != all[path] || !kept && revision <= told {
				t.Errorf("%s had revision %d, the store %d; behind a restart it has %d", path, all[path], told, revision)
			}
		}
		// Other software changes what is there.
		s.Close()
		other := fake.objects["d/d"]
		other.Data, other.Revision = []byte("4"), 0
		fake.objects["d/d"] = other
		must(t, s.Start(Options{}))
		if got := object(t, s, "d/d").Revision; got == 0 || got == again["d/d"] {
			t.Errorf("what other software wrote has revision %d, what was there before %d", got, again["d/d"])
		}
	})
}

// readsAgree holds the revisions that reads of all kinds return against those of a list.
func readsAgree(t *testing.T, s *Layered, want map[string]uint64) {
	t.Helper()
	check := func(what string, obj meta.Object) {
		t.Helper()
		if obj.Revision != want[obj.Path] {
			t.Errorf("%s: %s has revision %d, want %d", what, obj.Path, obj.Revision, want[obj.Path])
		}
	}
	for path := range want {
		check("Get", object(t, s, path))
		check("Get again", object(t, s, path))
	}
	page, err := s.Page("d/*", ListOptions{})
	must(t, err)
	for _, obj := range page.Objects {
		check("Page", obj)
	}
	for obj, err := range s.Iterate("*/*", ListOptions{}) {
		must(t, err)
		check("Iterate", obj)
	}
	snapshot, err := s.Snapshot(t.Context(), "")
	must(t, err)
	defer snapshot.Close()
	for obj, err := range snapshot.All() {
		must(t, err)
		check("Snapshot", obj)
	}
	sub, err := s.Subscribe(t.Context(), "d/*", SubscribeOptions{})
	must(t, err)
	defer sub.Close()
	for n, err := range sub.All(t.Context()) {
		must(t, err)
		if n.Kind == NoticeLive {
			break
		}
		check("Subscribe", *n.Object)
	}
}

// TestRevisionsThatAreNotKept starts over a layer that takes no write: the store is there, and says so.
func TestRevisionsThatAreNotKept(t *testing.T) {
	logger, logged := logs()
	fake := newFakeBatcher()
	unrevised(fake)
	refuse := func(method, _ string) error {
		if method == "Commit" {
			return errors.New("the disk is full")
		}
		return nil
	}
	fake.onCall(refuse)
	s := start(t, LayeredConfig{Memory: NewMemoryLayer(), Embedded: fake}, Options{Logger: logger})
	first := revisionsOf(t, s)
	if text := logged(); !strings.Contains(text, "objects=4") || !strings.Contains(text, "the disk is full") {
		t.Errorf("the log says %q", text)
	}
	restart(t, s)
	next := revisionsOf(t, s)
	for path, revision := range first {
		if path != "d/e" && next[path] <= slices.Max([]uint64{first["d/c"], first["d/d"], revision}) {
			t.Errorf("%s had revision %d, and has %d: one that was given out", path, revision, next[path])
		}
	}
	fake.onCall(nil)
	_, err := s.SetWith("d/d", []byte("2"), SetOptions{IfRevision: next["d/d"]})
	must(t, err)
}

// TestARefusedRevisionKeepsNoOther has a layer that refuses one object.
func TestARefusedRevisionKeepsNoOther(t *testing.T) {
	logger, logged := logs()
	fake := newFakeBatcher()
	paths := unrevised(fake)
	fake.commit = func(changes []Change) error {
		for i, c := range changes {
			if c.Key == "d/b" {
				return &EntryError{Index: i, Err: errors.New("too large")}
			}
		}
		return nil
	}
	s := start(t, LayeredConfig{Memory: NewMemoryLayer(), Embedded: fake}, Options{Logger: logger})
	all := revisionsOf(t, s)
	for _, path := range paths {
		if kept := fake.content()[path].Revision; all[path] == 0 || path != "d/b" && kept != all[path] || path == "d/b" && kept != 0 {
			t.Errorf("%s has revision %d, the layer %d", path, all[path], kept)
		}
	}
	if text := logged(); !strings.Contains(text, "too large") || !strings.Contains(text, "objects=1 ") || !strings.Contains(text, "objects=3") {
		t.Errorf("the log says %q", text)
	}
}

// TestRevisionsAreKeptInBatches counts the commits of a start, and that the next one makes none.
func TestRevisionsAreKeptInBatches(t *testing.T) {
	fake := newFakeBatcher()
	for i := range 2*keptAtOnce + 1 {
		path := fmt.Sprintf("d/%d", i)
		fake.objects[path] = inUse(path)
	}
	s := start(t, LayeredConfig{Memory: NewMemoryLayer(), Embedded: fake}, Options{Logger: quiet})
	if got := fake.commits(); !slices.Equal(got, []int{keptAtOnce, keptAtOnce, 1}) {
		t.Errorf("commits of %v objects, want two of %d and one of the last", got, keptAtOnce)
	}
	restart(t, s)
	if got := fake.commits(); len(got) != 3 {
		t.Errorf("the second start commits %v", got[3:])
	}
}
