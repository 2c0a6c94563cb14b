package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// at returns a runner on another store.
func (c *cli) at(store string) *cli {
	other := *c
	other.store = store
	other.env.getenv = func(name string) string {
		if name == storeVariable {
			return store
		}
		return ""
	}
	return &other
}

// fresh returns the URL of a store that does not exist yet.
func fresh(t *testing.T, scheme string) string {
	t.Helper()
	return scheme + ":" + filepath.Join(t.TempDir(), "store")
}

// durableSchemes are those of all engines.
func durableSchemes() (schemes []string) {
	for _, form := range engine.Forms(engines...) {
		if scheme, _, _ := strings.Cut(form, ":"); scheme != "memory" {
			schemes = append(schemes, scheme)
		}
	}
	return schemes
}

// filled makes a store of 2,001 objects, some of which expire, and of which the last change
// was a delete.
func filled(t *testing.T, scheme string) *cli {
	t.Helper()
	c := newCLI(t).at(fresh(t, scheme))
	expiring := fmt.Sprintf(`{"created":5,"updated":6,"path":"expiring","data":[1, "é"],"expires":%d}`, time.Now().Add(time.Hour).UnixNano())
	c.input(manyObjects(2000)+expiring, "import", "-", "--quiet").ok()
	c.run("set", "gone", "1").ok()
	c.run("del", "gone").ok()
	return c
}

// putExpired puts an object into the store that expired long ago, as one is for a moment that
// nothing has removed yet.
func (c *cli) putExpired(path string) {
	c.t.Helper()
	layer, err := new(app).newLayer(c.store, changes)
	if err == nil {
		err = layer.Start(storage.LayerOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer layer.Close()
	if err := layer.Set(path, &meta.Object{Created: 1, Expires: 2, Data: []byte("1")}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cli) info() storeInfo {
	c.t.Helper()
	var info storeInfo
	if err := json.Unmarshal([]byte(c.run("info", "--json").ok().out), &info); err != nil {
		c.t.Fatal(err)
	}
	return info
}

// wantSame demands that two stores hold the same objects, revisions included.
func wantSame(t *testing.T, got, want *cli) {
	t.Helper()
	if !reflect.DeepEqual(got.objects(), want.objects()) {
		t.Errorf("%s does not hold the objects of %s", got.store, want.store)
	}
}

// TestCopy takes a store through all engines and back: the objects are the same, times and revisions
// included, and revisions go on above those of the source.
func TestCopy(t *testing.T) {
	t.Parallel()
	first := filled(t, "pebble")
	from := first
	for i, scheme := range append(durableSchemes(), "pebble") {
		to := first.at(fresh(t, scheme))
		first.run("copy", "--from", from.store, "--to", to.store).ok().contains(
			"copied 2,001 objects from "+from.store+" into "+to.store+" in ", "\nread back and compared: 2,001 objects, checksum ")
		wantSame(t, to, first)
		if got, want := to.info().Revision, first.info().Revision; got < want {
			t.Errorf("copy %d, %s: the last revision is %d, want %d or more", i, scheme, got, want)
		}
		to.run("check").ok()
		from = to
	}
	var stored struct{ Revision uint64 }
	out := from.run("set", "new", "1", "--json").ok().out
	if err := json.Unmarshal([]byte(out), &stored); err != nil || stored.Revision <= first.info().Revision {
		t.Errorf("a write to the copy has the revision %d, %v, want more than %d", stored.Revision, err, first.info().Revision)
	}
	out = first.run("copy", "--from", first.store, "--to", fresh(t, "pebble"), "--json").ok().out
	var summary copySummary
	if err := json.Unmarshal([]byte(out), &summary); err != nil || summary.Copied != 2001 || len(summary.Checksum) != 16 {
		t.Errorf("copy --json wrote %q, %v", out, err)
	}
	first.run("copy", "--from", first.store, "--to", fresh(t, "pebble"), "--quiet").ok().prints("")
}

func TestCopyOfNothing(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.run("set", "a", "1").ok()
	c.run("del", "a").ok()
	to := c.at(fresh(t, "pebble"))
	c.run("copy", "--from", c.store, "--to", to.store).ok().contains("copied 0 objects")
	if got := to.info(); got.Objects != 0 || got.Revision != 2 {
		t.Errorf("the copy of an empty store is %+v, want no objects and the revision 2", got)
	}
}

func TestCopyRefuses(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.days()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(c.directory(), link); err != nil {
		t.Fatal(err)
	}
	other := fresh(t, "pebble")
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "copy: expected the URLs of two stores, as in copy FROM TO"},
		{[]string{"--from", c.store}, exitUsage, "copy: expected the URLs of two stores, as in copy FROM TO"},
		{[]string{"--from", c.store, "--to", other, "--store", c.store}, exitUsage, "copy: --store has no effect here"},
		{[]string{"--from", c.store, "--to", other, "x"}, exitUsage, "copy: x is one URL too many"},
		{[]string{"--from", "nope:x", "--to", other}, exitUsage, `unknown scheme "nope"`},
		{[]string{"--from", c.store, "--to", "nope:x"}, exitUsage, `unknown scheme "nope"`},
		{[]string{"--from", "memory:", "--to", other}, exitUsage, "store memory:: it is not durable"},
		{[]string{"--from", c.store, "--to", "memory:"}, exitUsage, "store memory:: it is not durable"},
		{[]string{"--from", c.store, "--to", c.store}, exitUsage, "are the same store, expected two"},
		{[]string{"--from", c.store, "--to", c.store + "/"}, exitUsage, "are the same store, expected two"},
		{[]string{"--from", c.store, "--to", "pebble:" + link + "?sync=off", "--into"}, exitUsage, "are the same store, expected two"},
		{[]string{"--from", c.store, "--to", "ko:" + c.directory()}, exitUsage, "are the same store, expected two"},
		{[]string{"--from", other, "--to", c.store}, exitFailure, "store " + other + ": there is no store yet"},
		{[]string{"--from", c.store, "--to", "pebble:" + c.file("x", "text")}, exitFailure, "is a file, expected a directory"},
	} {
		c.run(append([]string{"copy"}, test.args...)...).is(test.code, test.want).prints("")
		if _, err := os.Stat(location(other)); !os.IsNotExist(err) {
			t.Fatalf("copy %q left something at the target's place: %v", test.args, err)
		}
	}
}

// TestCopyRefusesATargetInUse shows that nothing is lost by a copy to the wrong place.
func TestCopyRefusesATargetInUse(t *testing.T) {
	t.Parallel()
	source, target := newCLI(t), newCLI(t)
	source.days()
	target.run("set", "mine", "1").ok()
	before := target.objects()
	copyOver := func() result { return source.run("copy", "--from", source.store, "--to", target.store) }
	copyOver().is(exitFailure, `store `+target.store+`: it holds objects, such as "mine", expected a new or empty store; --into merges into it`)
	if got := target.objects(); !reflect.DeepEqual(got, before) {
		t.Errorf("the refused target holds %v, want %v", got, before)
	}
	target.run("del", "mine").ok()
	copyOver().is(exitFailure, "it is empty but was used up to revision 2, expected a new store; --into assigns new revisions")
	source.run("copy", "--from", source.store, "--to", target.store, "--into").ok()
	if got := len(target.objects()); got != 4 {
		t.Errorf("after the merge into the emptied store there are %d objects, want 4", got)
	}
}

func TestCopyInto(t *testing.T) {
	t.Parallel()
	source, target := filled(t, "pebble"), newCLI(t)
	source.putExpired("past")
	target.run("set", "d0/00000", `"old"`).ok()
	target.run("set", "mine", "1").ok()
	mine := target.run("export", "mine").ok().out
	source.run("copy", "--from", source.store, "--to", target.store, "--into").ok().contains("merged 2,001 objects from ", ", skipped 1 that have expired\n")
	want := source.objects()
	got := target.objects()
	got = slices.DeleteFunc(got, func(obj meta.Object) bool { return obj.Path == "mine" })
	for i := range got {
		if got[i].Revision <= 2 {
			t.Fatalf("%s has the revision %d, want a new one", got[i].Path, got[i].Revision)
		}
		got[i].Revision, want[i].Revision = 0, 0
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("the merged objects are not those of the source")
	}
	target.run("export", "mine").ok().prints(mine)
	source.run("copy", "--from", source.store, "--to", target.store, "--into", "--json").ok().contains(`{"copied":2001,"expired":1,`)
	target.run("get", "past").is(exitNotFound, `"past"`)
}

// layerCopier makes a copier of layers that are not started.
func layerCopier(source, target storage.EmbeddedLayer) *copier {
	var discarded bytes.Buffer
	return &copier{
		app:  &app{stdout: bufio.NewWriter(&discarded), stderr: &discarded, environment: environment{program: "oolith"}},
		from: "test:source", to: "test:target", quiet: true, source: files{source, true}, target: target,
	}
}

// diskWith makes a layer on a disk in memory with objects in it.
func diskWith(t *testing.T, layer storage.EmbeddedLayer, objects int) {
	t.Helper()
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	for i := range objects {
		obj := meta.Object{Created: int64(i), Updated: 7, Expires: int64(1<<62) * int64(i%2), Revision: uint64(objects - i), Data: []byte(fmt.Sprint(i))}
		if err := layer.Set(fmt.Sprintf("d/%05d", i), &obj); err != nil {
			t.Fatal(err)
		}
	}
}

func loaded(t *testing.T, layer storage.EmbeddedLayer) map[string]*meta.Object {
	t.Helper()
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	all, err := layer.Load()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCopyBetweenKindsOfLayers copies from and to layers with and without batches.
func TestCopyBetweenKindsOfLayers(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(*storagetest.Disk, string) storage.EmbeddedLayer{
		"plain": func(d *storagetest.Disk, dir string) storage.EmbeddedLayer { return storagetest.NewPlainLayer(d, dir) },
		"batch": func(d *storagetest.Disk, dir string) storage.EmbeddedLayer { return storagetest.NewBatchLayer(d, dir) },
		"wrapped": func(d *storagetest.Disk, dir string) storage.EmbeddedLayer {
			return storage.NewEmbeddedWrapper(storagetest.NewBatchLayer(d, dir))
		},
	}
	for from, newSource := range kinds {
		for to, newTarget := range kinds {
			t.Run(from+" to "+to, func(t *testing.T) {
				disk := &storagetest.Disk{}
				source, target := newSource(disk, "source"), newTarget(disk, "target")
				diskWith(t, source, 2500)
				if err := layerCopier(source, target).copy(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := loaded(t, target)
				if len(got) != 2500 || !reflect.DeepEqual(got, loaded(t, source)) {
					t.Error("the target holds other objects than the source")
				}
				c := layerCopier(source, target)
				c.into = true
				if err := c.copy(t.Context()); err != nil {
					t.Errorf("merge: %v", err)
				}
			})
		}
	}
}

// wrong is a layer on which something goes wrong.
type wrong struct {
	*storagetest.BatchLayer
	commit       func(changes []storage.Change) error
	lastRevision func() (uint64, error)
}

func (l *wrong) Commit(changes []storage.Change) error {
	if l.commit != nil {
		return l.commit(changes)
	}
	return l.BatchLayer.Commit(changes)
}

func (l *wrong) LastRevision() (uint64, error) {
	if l.lastRevision != nil {
		return l.lastRevision()
	}
	return l.BatchLayer.LastRevision()
}

// TestCopyThatGoesWrong shows that a copy that is not whole is told, and leaves its target marked.
func TestCopyThatGoesWrong(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	changed := func(l *wrong, change func(obj *meta.Object)) {
		l.commit = func(changes []storage.Change) error {
			changes = slices.Clone(changes)
			for i, c := range changes {
				if c.Key == "d/01234" {
					obj := *c.Object
					change(&obj)
					changes[i].Object = &obj
				}
			}
			return l.BatchLayer.Commit(changes)
		}
	}
	for _, test := range []struct {
		name, want string
		harm       func(l *wrong)
	}{
		{"a full disk", "store test:target: no space left on device", func(l *wrong) {
			l.commit = func(changes []storage.Change) error {
				if len(changes) > 1 && changes[0].Key > "d/00999" {
					return full
				}
				return l.BatchLayer.Commit(changes)
			}
		}},
		{"an object that is refused", `store test:target: path "d/01234": too large`, func(l *wrong) {
			l.commit = func(changes []storage.Change) error {
				at := slices.IndexFunc(changes, func(c storage.Change) bool { return c.Key == "d/01234" })
				if at >= 0 {
					return &storage.EntryError{Index: at, Err: errors.New("too large")}
				}
				return l.BatchLayer.Commit(changes)
			}
		}},
		{"data that changes", "read back: 2,500 objects with checksum ", func(l *wrong) { changed(l, func(obj *meta.Object) { obj.Data = []byte(`"other"`) }) }},
		{"a time that is lost", "read back: 2,500 objects with checksum ", func(l *wrong) { changed(l, func(obj *meta.Object) { obj.Updated = 0 }) }},
		{"an object that is lost", "read back: 2,499 objects with checksum ", func(l *wrong) {
			l.commit = func(changes []storage.Change) error {
				return l.BatchLayer.Commit(slices.DeleteFunc(slices.Clone(changes), func(c storage.Change) bool { return c.Key == "d/01234" }))
			}
		}},
		{"a revision that is lost", "read back: the last revision is 0, expected at least 2500", func(l *wrong) {
			l.lastRevision = func() (uint64, error) { return 0, nil }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk := &storagetest.Disk{}
			source, target := storagetest.NewBatchLayer(disk, "source"), &wrong{BatchLayer: storagetest.NewBatchLayer(disk, "target")}
			diskWith(t, source, 2500)
			test.harm(target)
			err := layerCopier(source, target).copy(t.Context())
			checkError(t, err, test.want)
			checkError(t, err, "; test:target is incomplete, run the copy again")
			if code := exitCode(err); code != exitFailure {
				t.Errorf("exit code %d, want %d", code, exitFailure)
			}
			sound := storagetest.NewBatchLayer(disk, "target")
			err = sound.Start(storage.LayerOptions{})
			if !errors.Is(err, storage.ErrIncomplete) || !strings.Contains(err.Error(), ": oolith copy --from ") {
				t.Errorf("start of the target: %v, want the copy in ErrIncomplete", err)
			}
			if err := layerCopier(source, sound).copy(t.Context()); err != nil {
				t.Errorf("the copy, run again: %v", err)
			}
			if !reflect.DeepEqual(loaded(t, sound), loaded(t, source)) {
				t.Error("after the copy was run again the target holds other objects than the source")
			}
		})
	}
}

// TestCopyOfADamagedSource shows that what cannot be read is named, and no part passes for
// the whole.
func TestCopyOfADamagedSource(t *testing.T) {
	disk := &storagetest.Disk{}
	source, target := storagetest.NewBatchLayer(disk, "source"), storagetest.NewBatchLayer(disk, "target")
	diskWith(t, source, 10)
	if err := disk.Corrupt("source", "d/00007"); err != nil {
		t.Fatal(err)
	}
	err := layerCopier(source, target).copy(t.Context())
	checkError(t, err, `store test:source: storagetest: key "d/00007"`)
	if err := target.Start(storage.LayerOptions{}); !errors.Is(err, storage.ErrIncomplete) {
		t.Errorf("start of the target: %v, want ErrIncomplete", err)
	}
}

// TestCopyStopped interrupts copies, and kills the process of others, behind two of three
// batches. The target then refuses every command, and names the one that mends it.
func TestCopyStopped(t *testing.T) {
	t.Parallel()
	interrupt := func(c *cli, to string, into bool) {
		t := c.t
		t.Helper()
		source, err := new(app).newLayer(c.store, changes)
		if err != nil {
			t.Fatal(err)
		}
		target, err := new(app).newLayer(to, creates)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		l := layerCopier(endingLayer{source, killedAt, func() error { cancel(); return nil }}, target)
		l.from, l.to, l.into = c.store, to, into
		err = l.copy(ctx)
		if exitCode(err) != exitInterrupted || !strings.Contains(err.Error(), "copy: interrupted after ") ||
			!strings.HasSuffix(err.Error(), " objects; "+to+" is incomplete, run the copy again") {
			t.Errorf("the interrupted copy ends with %v, exit code %d", err, exitCode(err))
		}
	}
	kill := func(c *cli, to string, into bool) {
		t := c.t
		t.Helper()
		args := []string{c.store, to}
		if into {
			args = append(args, "into")
		}
		out, err := processes(t, roleKilled)(args...).CombinedOutput()
		if err == nil || err.Error() != "signal: killed" {
			t.Errorf("the copy ended with %v, want it killed; it wrote %q", err, out)
		}
	}
	try := func(stop func(*cli, string, bool), scheme string) func(*testing.T) {
		return func(t *testing.T) {
			t.Parallel()
			source := newCLI(t)
			source.input(manyObjects(killedAt+500), "import", "-", "--quiet").ok()
			target := source.at(fresh(t, scheme))
			stop(source, target.store, false)
			command := "run it again, oolith copy --from " + source.store + " --to " + target.store
			for _, args := range [][]string{{"get", "a"}, {"list", "*"}, {"keys"}, {"info"}, {"export"}, {"set", "a", "1"}, {"compact"}, {"del", "a"}} {
				target.run(args...).is(exitFailure, command).prints("")
			}
			source.run("copy", "--from", target.store, "--to", fresh(t, "pebble")).is(exitFailure, command)
			source.run("copy", "--from", source.store, "--to", target.store, "--into").is(exitFailure, command)
			target.run("check").is(exitDamaged, target.store+": 1 problem found").contains(command, ": 2,000 objects intact, checked in ")
			source.run("copy", "--from", source.store, "--to", target.store).ok().contains("copied 3,000 objects")
			wantSame(t, target, source)

			merged := source.at(fresh(t, scheme))
			merged.run("set", "mine", "1").ok()
			stop(source, merged.store, true)
			command = "run it again, oolith copy --into --from " + source.store + " --to " + merged.store
			merged.run("get", "mine").is(exitFailure, command)
			source.run("copy", "--from", source.store, "--to", merged.store).is(exitFailure, command)
			source.run("copy", "--from", target.store, "--to", merged.store, "--into").is(exitFailure, command)
			source.run("copy", "--from", source.store, "--to", merged.store, "--into").ok().contains("merged 3,000 objects")
			merged.run("get", "mine").ok().prints("1\n")
			merged.run("info").ok().contains("objects          3,001\n")
		}
	}
	t.Run("interrupted", try(interrupt, "pebble"))
	for _, scheme := range durableSchemes() {
		t.Run("killed "+scheme, try(kill, scheme))
	}
}

// TestCopyOverAnotherIncompleteStore shows that only what a copy left is cleared.
func TestCopyOverAnotherIncompleteStore(t *testing.T) {
	disk := &storagetest.Disk{}
	source, target := storagetest.NewBatchLayer(disk, "source"), storagetest.NewBatchLayer(disk, "target")
	diskWith(t, source, 3)
	diskWith(t, target, 5)
	if err := target.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := target.MarkIncomplete("restore of Tuesday"); err != nil {
		t.Fatal(err)
	}
	target.Close()
	for _, into := range []bool{false, true} {
		c := layerCopier(source, target)
		c.into = into
		err := c.copy(t.Context())
		if !errors.Is(err, storage.ErrIncomplete) {
			t.Errorf("copy over a restore, into %v: %v, want ErrIncomplete", into, err)
		}
		checkError(t, err, "restore of Tuesday")
	}
	if err := target.Start(storage.LayerOptions{AllowIncomplete: true}); err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if keys, err := target.Keys(); err != nil || len(keys) != 5 {
		t.Errorf("the restore holds %q, %v, want its five objects", keys, err)
	}
}
