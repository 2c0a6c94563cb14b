package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oolith-db/oolith/backup"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// fill stores objects of many kinds: times of all sizes, times to live, an object longer than a block,
// more than a block of small ones, paths that sort in a way of their own.
func fill(t testing.TB, store *storage.Layered) {
	t.Helper()
	now := time.Now().UnixNano()
	for i, times := range []storage.Times{{Created: 0}, {Created: -1, Updated: 1}, {Created: math.MinInt64, Updated: math.MaxInt64}, {Created: now, Updated: now}} {
		opt := storage.SetOptions{Times: &times}
		if i%2 == 1 {
			opt.Expires = now + int64(time.Hour)
		}
		if _, err := store.SetWith(fmt.Sprintf("times/%d", i), []byte(`{ "spaced" : 1.50 }`), opt); err != nil {
			t.Fatal(err)
		}
	}
	put(t, store, "long", `"`+strings.Repeat("0123456789abcdef", 200_000)+`"`)
	random := rand.New(rand.NewPCG(1, 2)) // the same each time, and hard to pack
	for i := range 300 {
		text := make([]byte, 5000)
		for j := range text {
			text[j] = 'a' + byte(random.IntN(26))
		}
		put(t, store, fmt.Sprintf("many/%d", i), `"`+string(text)+`"`)
	}
	for _, path := range []string{"a", "a-b/1", "a/b/c/d", "a/b", "a.b/1", "A/1"} {
		put(t, store, path, `"\u00e9 \ud83d\ude00 <é>"`)
	}
	put(t, store, "a/b", `"again"`)
	put(t, store, "a/gone", `0`)
	if err := store.Del("a/gone"); err != nil { // the last revision has no object
		t.Fatal(err)
	}
}

// TestRoundTrip takes stores of each kind into layers of two kinds, by a reader that can seek and by one that
// cannot: the objects are the same, revisions included, and revisions go on behind the last one.
func TestRoundTrip(t *testing.T) {
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			store := started(t, layout.config(t))
			fill(t, store)
			snapshot, err := store.Snapshot(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer snapshot.Close()
			want := lines(t, snapshot.All())
			file, info := written(t, store, backup.WriteOptions{})
			if info.Objects != int64(len(want)) || info.Size != int64(len(file)) || info.Revision != snapshot.Revision() || info.Revision != 314 {
				t.Errorf("the backup has %+v, want %d objects in %d bytes at revision 314", info, len(want), len(file))
			}
			if verified, err := backup.Verify(t.Context(), streamed(file), backup.VerifyOptions{}); err != nil || verified != info {
				t.Errorf("verified: %+v, %v, want %+v", verified, err, info)
			}
			for name, source := range map[string]func() io.Reader{
				"seeking":  func() io.Reader { return bytes.NewReader(file) },
				"streamed": func() io.Reader { return streamed(file) },
			} {
				for kind, target := range map[string]storage.EmbeddedLayer{"disk": newDisk(), "pebble": newPebble(t)} {
					t.Run(name+" to "+kind, func(t *testing.T) {
						restored, err := backup.Restore(t.Context(), source(), target, backup.RestoreOptions{TempDir: t.TempDir()})
						if err != nil || restored != info {
							t.Fatalf("%+v, %v, want %+v", restored, err, info)
						}
						if got := content(t, target); !slices.Equal(got, want) {
							t.Error("other objects than in the store")
						}
						goesOn(t, target, info.Revision)
					})
				}
			}
		})
	}
}

// goesOn demands that a layer knows of a last revision, and that a store over it goes on behind that.
func goesOn(t *testing.T, layer storage.EmbeddedLayer, last uint64) {
	t.Helper()
	if got := lastRevision(t, layer); got != last {
		t.Errorf("the last revision is %d, want %d", got, last)
	}
	store := started(t, storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer})
	obj, err := store.SetWith("new", []byte("1"), storage.SetOptions{})
	if err != nil || obj.Revision != last+1 {
		t.Errorf("the next change has revision %d, %v, want %d", obj.Revision, err, last+1)
	}
}

// TestBackupOfALayer makes a backup of a store that is not open: it is the same as one that was made while it was.
func TestBackupOfALayer(t *testing.T) {
	layer := newDisk()
	store := storage.New(storage.LayeredConfig{Embedded: layer})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"b/1", "a/2", "a/1", "c"} {
		put(t, store, path, "1")
	}
	if err := store.Del("c"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.SetWith("a/gone", []byte("1"), storage.SetOptions{Expires: 1}); err != nil {
		t.Fatal(err)
	}
	store.Close()
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	var file bytes.Buffer
	info, err := backup.WriteLayer(t.Context(), layer, &file, backup.WriteOptions{Share: 1})
	last, lastErr := layer.LastRevision()
	if err != nil || lastErr != nil || info.Objects != 3 || info.Revision != last {
		t.Fatalf("%+v, %v, %v, want 3 objects at revision %d", info, err, lastErr, last)
	}
	target := newDisk()
	if restored, err := backup.Restore(t.Context(), &file, target, backup.RestoreOptions{}); err != nil || restored != info {
		t.Errorf("restored %+v, %v, want %+v", restored, err, info)
	}
	goesOn(t, target, last)

	part, err := backup.WriteLayer(t.Context(), layer, io.Discard, backup.WriteOptions{Share: 1, Pattern: "a/*"})
	if err != nil || part.Objects != 2 || part.Pattern != "a/*" {
		t.Errorf("a part: %+v, %v, want 2 objects", part, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.WriteLayer(ctx, layer, io.Discard, backup.WriteOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
	if _, err := backup.WriteLayer(t.Context(), layer, io.Discard, backup.WriteOptions{Share: 2}); !errors.Is(err, storage.ErrInvalidOptions) {
		t.Errorf("a share of 2: %v", err)
	}
	layer.Close()
	if _, err := backup.WriteLayer(t.Context(), layer, io.Discard, backup.WriteOptions{}); !errors.Is(err, storage.ErrNotActive) {
		t.Errorf("a layer that is closed: %v", err)
	}
}

func TestBackupOfNothing(t *testing.T) {
	store := inMemory(t)
	put(t, store, "a", "1")
	if err := store.Del("a"); err != nil {
		t.Fatal(err)
	}
	file, info := written(t, store, backup.WriteOptions{})
	target := newDisk()
	if _, err := backup.Restore(t.Context(), bytes.NewReader(file), target, backup.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, target); len(got) != 0 || info.Objects != 0 {
		t.Errorf("the target holds %q, the backup %d objects, want nothing", got, info.Objects)
	}
	if got := lastRevision(t, target); got != 2 {
		t.Errorf("the last revision is %d, want 2", got)
	}
}

func TestBackupOfAPart(t *testing.T) {
	store := inMemory(t)
	for _, path := range []string{"a/1", "a/2", "b/1", "a/1/deep"} {
		put(t, store, path, "1")
	}
	for pattern, want := range map[string]int{"a/*": 2, "*/1": 2, "b/1": 1, "none/*": 0} {
		file, info := written(t, store, backup.WriteOptions{Pattern: pattern})
		if info.Pattern != pattern || info.Objects != int64(want) || info.Revision != 4 {
			t.Errorf("%s: %+v, want %d objects at revision 4", pattern, info, want)
		}
		target := newDisk()
		if got, err := backup.Restore(t.Context(), bytes.NewReader(file), target, backup.RestoreOptions{}); err != nil || got != info {
			t.Errorf("%s: restored %+v, %v, want %+v", pattern, got, err, info)
		}
		if got := content(t, target); len(got) != want {
			t.Errorf("%s: restored %q, want %d objects", pattern, got, want)
		}
	}
	if _, err := backup.Write(t.Context(), store, io.Discard, backup.WriteOptions{Pattern: "a//b"}); !errors.Is(err, storage.ErrInvalidPath) {
		t.Errorf("an invalid pattern: %v", err)
	}
	for _, share := range []float64{-0.1, 1.1, math.NaN()} {
		if _, err := backup.Write(t.Context(), store, io.Discard, backup.WriteOptions{Share: share}); !errors.Is(err, storage.ErrInvalidOptions) {
			t.Errorf("a share of %v: %v", share, err)
		}
	}
}

// version is one value of a key; empty data stands for a delete.
type version struct {
	revision uint64
	data     string
}

// writer changes pairs of keys, in two directories, by batches, and remembers all it did.
type writer struct {
	store  *storage.Layered
	random *rand.Rand
	id     int
	past   map[string][]version
}

func (w *writer) change() error {
	var batch storage.Batch
	n := w.random.IntN(50)
	data := fmt.Appendf(nil, "%d", w.random.Uint64())
	for _, side := range []string{"left", "right"} {
		path := fmt.Sprintf("%s/%d/%d", side, w.id, n)
		versions := w.past[path]
		if len(versions) > 0 && versions[len(versions)-1].data != "" && n%5 == 0 {
			batch.Del(path)
		} else {
			batch.Set(path, data)
		}
	}
	objects, err := w.store.Commit(&batch)
	for _, obj := range objects {
		w.past[obj.Path] = append(w.past[obj.Path], version{obj.Revision, string(obj.Data)})
	}
	return err
}

// at is what the writer's keys hold at a revision.
func (w *writer) at(revision uint64) map[string]string {
	state := make(map[string]string)
	for path, versions := range w.past {
		for _, v := range versions {
			if v.revision > revision {
				break
			}
			state[path] = v.data
			if v.data == "" {
				delete(state, path)
			}
		}
	}
	return state
}

// TestBackupsAmongWriters makes backups while batches change pairs of keys: what is restored of each is
// exactly the newest version of every key up to its revision, and both keys of a pair are the same.
func TestBackupsAmongWriters(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			store := started(t, layout.config(t))
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			writers := make([]*writer, 3)
			var writing sync.WaitGroup
			for i := range writers {
				w := &writer{store, rand.New(rand.NewPCG(seed, uint64(i))), i, make(map[string][]version)}
				writers[i] = w
				writing.Go(func() {
					for ctx.Err() == nil {
						if err := w.change(); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			type made struct {
				file []byte
				info backup.Info
			}
			var backups []made
			for last := uint64(0); len(backups) < 20; {
				file, info := written(t, store, backup.WriteOptions{})
				if info.Revision > last { // the writers have got on
					backups = append(backups, made{file, info})
					last = info.Revision
				}
			}
			stop()
			writing.Wait()
			for _, b := range backups {
				target := newDisk()
				if _, err := backup.Restore(t.Context(), bytes.NewReader(b.file), target, backup.RestoreOptions{}); err != nil {
					t.Fatal(err)
				}
				want := make(map[string]string)
				for _, w := range writers {
					maps.Copy(want, w.at(b.info.Revision))
				}
				if got := values(t, target, b.info.Revision); !maps.Equal(got, want) {
					t.Errorf("at revision %d: %d objects, want the %d of that revision", b.info.Revision, len(got), len(want))
				}
			}
		})
	}
}

// values returns the data by path of a layer in which no revision is above a last one and each pair of
// keys is the same.
func values(t *testing.T, layer storage.EmbeddedLayer, last uint64) map[string]string {
	t.Helper()
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	found := make(map[string]string)
	for obj, err := range storage.Scan(layer, "") {
		if err != nil {
			t.Fatal(err)
		}
		if obj.Revision > last {
			t.Errorf("%s has revision %d in a backup of revision %d", obj.Path, obj.Revision, last)
		}
		found[obj.Path] = string(obj.Data)
	}
	for path, data := range found {
		if rest, ok := strings.CutPrefix(path, "left"); ok && found["right"+rest] != data {
			t.Errorf("half of a pair: left%s is %s, right%s is %s", rest, data, rest, found["right"+rest])
		}
	}
	return found
}

// limitedWriter fails behind some bytes.
type limitedWriter struct {
	left int
	err  error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		n := w.left
		w.left = 0
		return n, w.err
	}
	w.left -= len(p)
	return len(p), nil
}

// TestWriteFails shows that what ends a backup is its error, wherever it comes.
func TestWriteFails(t *testing.T) {
	store := inMemory(t)
	for i := range 10 {
		put(t, store, fmt.Sprintf("a/%d", i), fmt.Sprintf(`"%s"`, strings.Repeat("x", 400_000)))
	}
	file, _ := written(t, store, backup.WriteOptions{})
	full := errors.New("no space left")
	for limit := 0; limit < len(file); limit += len(file)/50 + 1 {
		if _, err := backup.Write(t.Context(), store, &limitedWriter{limit, full}, backup.WriteOptions{Share: 1}); !errors.Is(err, full) {
			t.Fatalf("a writer that fails behind byte %d: %v", limit, err)
		}
	}
	if _, err := backup.Write(t.Context(), store, &limitedWriter{len(file), full}, backup.WriteOptions{Share: 1}); err != nil {
		t.Errorf("with just enough room: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	_, err := backup.Write(ctx, store, io.Discard, backup.WriteOptions{Progress: func(backup.Progress) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ends in the middle: %v", err)
	}
	oneLine(t, err)
	_, err = backup.Write(t.Context(), store, io.Discard, backup.WriteOptions{Progress: func(backup.Progress) { store.Close() }})
	if !errors.Is(err, storage.ErrNotActive) {
		t.Errorf("of a store that is closed in the middle: %v", err)
	}
}

func TestProgress(t *testing.T) {
	store := inMemory(t)
	fill(t, store)
	for _, step := range []backup.Step{backup.StepWrite, backup.StepVerify, backup.StepRestore} {
		var seen []backup.Progress
		record := func(p backup.Progress) {
			if p.Step == step {
				seen = append(seen, p)
			}
		}
		file, info := written(t, store, backup.WriteOptions{Progress: record})
		if _, err := backup.Restore(t.Context(), bytes.NewReader(file), newDisk(), backup.RestoreOptions{Progress: record}); err != nil {
			t.Fatal(err)
		}
		if len(seen) < 3 || seen[len(seen)-1].Objects != info.Objects || seen[len(seen)-1].Bytes > info.Size ||
			!slices.IsSortedFunc(seen, func(a, b backup.Progress) int { return int(a.Bytes - b.Bytes) }) {
			t.Errorf("step %d: %+v, want at least 3 that ascend to %d objects", step, seen, info.Objects)
		}
	}
}

// TestBackupKeepsOwnExpiries shows that the end that a rule of one store sets is not taken into another.
func TestBackupKeepsOwnExpiries(t *testing.T) {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	rule := storage.Retention{Pattern: "a/*", Age: time.Hour}
	if err := store.Start(storage.Options{Retention: []storage.Retention{rule}}); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	put(t, store, "a/1", "1")
	file, _ := written(t, store, backup.WriteOptions{})
	target := newDisk()
	if _, err := backup.Restore(t.Context(), bytes.NewReader(file), target, backup.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	restored := started(t, storage.LayeredConfig{Embedded: target})
	var obj meta.Object
	obj, err := restored.Get("a/1")
	if err != nil || obj.Expires != 0 {
		t.Errorf("%+v, %v, want an object that never expires", obj, err)
	}
}
