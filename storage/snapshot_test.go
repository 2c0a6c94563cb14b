package storage_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// layouts are the kinds of stores.
var layouts = []struct {
	name   string
	config func() storage.LayeredConfig
}{
	{"memory", func() storage.LayeredConfig {
		return storage.LayeredConfig{Memory: storage.NewMemoryLayer()}
	}},
	{"memory over a layer", func() storage.LayeredConfig {
		return storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: newLayer()}
	}},
	{"cache over a layer", func() storage.LayeredConfig {
		return storage.LayeredConfig{
			Memory: storage.NewMemoryLayer(), MemoryOptions: storage.LayerOptions{SkipLoadMemory: true}, Embedded: newLayer(),
		}
	}},
	{"a layer alone", func() storage.LayeredConfig { return storage.LayeredConfig{Embedded: newLayer()} }},
}

func newLayer() storage.EmbeddedLayer { return storagetest.NewBatchLayer(&storagetest.Disk{}, "d") }

func started(t testing.TB, config storage.LayeredConfig, options storage.Options) *storage.Layered {
	t.Helper()
	store := storage.New(config, options)
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

func put(t testing.TB, store *storage.Layered, path, data string) {
	t.Helper()
	if _, err := store.Set(path, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// take returns a snapshot that the end of the test closes.
func take(t testing.TB, store *storage.Layered, pattern string) *storage.Snapshot {
	t.Helper()
	s, err := store.Snapshot(t.Context(), pattern)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// lines returns objects as text, in their order: "a/1=2".
func lines(t testing.TB, objects iter.Seq2[meta.Object, error]) []string {
	t.Helper()
	found := []string{}
	for obj, err := range objects {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, obj.Path+"="+string(obj.Data))
	}
	return found
}

func TestSnapshotHoldsOneRevision(t *testing.T) {
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			store := started(t, layout.config(), storage.Options{NoBroadcastKeys: []string{"hidden/*"}})
			for _, path := range []string{"b/2", "b/10", "b", "a/c/1", "a/1", "hidden/1"} {
				put(t, store, path, "1")
			}
			whole, list, nested := take(t, store, ""), take(t, store, "b/*"), take(t, store, "*/c/*")
			one, none := take(t, store, "b/2"), take(t, store, "none/*")
			put(t, store, "b/2", "2")
			put(t, store, "b/3", "3")
			if err := store.Del("a/*"); err != nil {
				t.Fatal(err)
			}
			store.Clear()
			put(t, store, "b/10", "4")

			for _, test := range []struct {
				name     string
				snapshot *storage.Snapshot
				want     []string
			}{
				{"everything", whole, []string{"b=1", "a/1=1", "a/c/1=1", "b/10=1", "b/2=1", "hidden/1=1"}},
				{"a list", list, []string{"b/10=1", "b/2=1"}},
				{"several directories", nested, []string{"a/c/1=1"}},
				{"one object", one, []string{"b/2=1"}},
				{"nothing", none, []string{}},
				{"what is there now", take(t, store, ""), []string{"b/10=4"}},
			} {
				if got := lines(t, test.snapshot.All()); !slices.Equal(got, test.want) {
					t.Errorf("%s: %q, want %q", test.name, got, test.want)
				}
				if got := lines(t, test.snapshot.All()); len(got) != 0 {
					t.Errorf("%s, a second loop: %q, want nothing more", test.name, got)
				}
			}
			if got := whole.Revision(); got != 6 {
				t.Errorf("the snapshot is at revision %d, want 6", got)
			}
		})
	}
}

// history is what a writer did to its keys: the versions of each path, oldest first.
type history map[string][]version

type version struct {
	revision uint64
	data     string // empty for a delete
}

// at returns what the keys hold at a revision.
func (h history) at(revision uint64) map[string]string {
	state := make(map[string]string)
	for path, versions := range h {
		data := ""
		for _, v := range versions {
			if v.revision <= revision {
				data = v.data
			}
		}
		if data != "" {
			state[path] = data
		}
	}
	return state
}

// change commits a random batch of sets and deletes over two directories.
func (h history) change(random *rand.Rand, store *storage.Layered, writer int) error {
	var batch storage.Batch
	for _, n := range random.Perm(10)[:1+random.IntN(4)] {
		for _, directory := range []string{"left", "right"} {
			path := fmt.Sprintf("%s/%d/%d", directory, writer, n)
			versions := h[path]
			if there := len(versions) > 0 && versions[len(versions)-1].data != ""; there && random.IntN(3) == 0 {
				batch.Del(path)
			} else {
				batch.Set(path, fmt.Appendf(nil, "%d", random.Uint64()))
			}
		}
	}
	objects, err := store.Commit(&batch)
	for _, obj := range objects {
		h[obj.Path] = append(h[obj.Path], version{obj.Revision, string(obj.Data)})
	}
	return err
}

// TestSnapshotAmongWriters takes snapshots while batches change pairs of keys in two directories: each
// snapshot holds exactly the newest version of every key up to its revision.
func TestSnapshotAmongWriters(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			store := started(t, layout.config(), storage.Options{})
			const writers = 3
			ctx, stop := context.WithCancel(t.Context())
			histories := make([]history, writers)
			var writing sync.WaitGroup
			for w := range writers {
				histories[w] = make(history)
				writing.Go(func() {
					random := rand.New(rand.NewPCG(seed, uint64(w)))
					for ctx.Err() == nil {
						if err := histories[w].change(random, store, w); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			seen := make(map[uint64]map[string]string)
			for len(seen) < 40 {
				s := take(t, store, "")
				content := make(map[string]string)
				for obj, err := range s.All() {
					if err != nil {
						t.Fatal(err)
					}
					if obj.Revision > s.Revision() {
						t.Errorf("revision %d in a snapshot of revision %d", obj.Revision, s.Revision())
					}
					content[obj.Path] = string(obj.Data)
				}
				seen[s.Revision()] = content
				s.Close()
			}
			stop()
			writing.Wait()
			for revision, got := range seen {
				want := make(map[string]string)
				for _, h := range histories {
					maps.Copy(want, h.at(revision))
				}
				if !maps.Equal(got, want) {
					t.Errorf("at revision %d: %d objects, want the %d of that revision", revision, len(got), len(want))
				}
			}
		})
	}
}

func TestSnapshotLeavesOutWhatIsExpired(t *testing.T) {
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := storage.New(layout.config())
				if err := store.Start(storage.Options{}); err != nil {
					t.Fatal(err)
				}
				defer store.Close()
				for path, ttl := range map[string]time.Duration{"a/gone": 1, "a/later": time.Minute, "a/stays": 0} {
					if _, err := store.SetWith(path, []byte("1"), storage.SetOptions{TTL: ttl}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(1) // the removal may come at any time from now on
				s, err := store.Snapshot(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				time.Sleep(time.Hour)
				want := []string{"a/later=1", "a/stays=1"}
				if got := lines(t, s.All()); !slices.Equal(got, want) {
					t.Errorf("%q, want %q: what had not expired when the snapshot was taken", got, want)
				}
			})
		})
	}
}

// TestSnapshotKeepsOwnExpiries shows that what a rule adds is in no snapshot, while a rule decides what is
// there, and a subscription tells what reads do.
func TestSnapshotKeepsOwnExpiries(t *testing.T) {
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := storage.New(layout.config())
				rule := storage.Retention{Pattern: "a/*", Age: time.Hour}
				if err := store.Start(storage.Options{Retention: []storage.Retention{rule}}); err != nil {
					t.Fatal(err)
				}
				defer store.Close()
				now := time.Now().UnixNano()
				own := map[string]int64{"a/none": 0, "a/sooner": now + int64(time.Minute), "a/later": now + int64(time.Hour) + int64(time.Minute), "b/1": now + 5e9}
				for path, at := range own {
					if _, err := store.SetWith(path, []byte("1"), storage.SetOptions{Expires: at}); err != nil {
						t.Fatal(err)
					}
				}
				// As old as the rule allows, less a second.
				old := storage.SetOptions{Times: &storage.Times{Created: now - int64(time.Hour) + 1e9}}
				if _, err := store.SetWith("a/old", []byte("1"), old); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				s, err := store.Snapshot(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				got := make(map[string]int64)
				for obj, err := range s.All() {
					if err != nil {
						t.Fatal(err)
					}
					got[obj.Path] = obj.Expires
				}
				if !maps.Equal(got, own) {
					t.Errorf("the snapshot has the expiries %v, want %v", got, own)
				}
				sub, err := store.Subscribe(t.Context(), "a/none", storage.SubscribeOptions{})
				if err != nil {
					t.Fatal(err)
				}
				defer sub.Close()
				notice, err := sub.Next(t.Context())
				if err != nil || notice.Object == nil || notice.Object.Expires != notice.Object.Created+int64(time.Hour) {
					t.Errorf("the subscription told %+v, %v, want an object that expires by the rule", notice, err)
				}
			})
		})
	}
}

// TestSnapshotEnds shows what ends a loop over a snapshot early.
func TestSnapshotEnds(t *testing.T) {
	for _, layout := range layouts {
		for _, test := range []struct {
			name string
			want error
			end  func(store *storage.Layered, s *storage.Snapshot, cancel func())
		}{
			{"a close of the store", storage.ErrNotActive, func(store *storage.Layered, _ *storage.Snapshot, _ func()) { store.Close() }},
			{"a close of the snapshot", storage.ErrSnapshotClosed, func(_ *storage.Layered, s *storage.Snapshot, _ func()) { s.Close(); s.Close() }},
			{"the context", context.Canceled, func(_ *storage.Layered, _ *storage.Snapshot, cancel func()) { cancel() }},
		} {
			t.Run(layout.name+"/"+test.name, func(t *testing.T) {
				store := started(t, layout.config(), storage.Options{})
				for i := range 100 {
					put(t, store, fmt.Sprintf("a/%d", i), "1")
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s, err := store.Snapshot(ctx, "")
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				count, last := 0, error(nil)
				for _, err := range s.All() {
					if last = err; err != nil {
						break
					}
					if count++; count == 10 {
						test.end(store, s, cancel)
					}
				}
				if !errors.Is(last, test.want) || count != 10 {
					t.Errorf("%d objects, then %v, want 10 and %v", count, last, test.want)
				}
				for _, err := range s.All() {
					if !errors.Is(err, test.want) {
						t.Errorf("a loop behind the end: %v, want %v", err, test.want)
					}
				}
			})
		}
	}
}

func TestSnapshotThatCannotBe(t *testing.T) {
	store := started(t, storage.LayeredConfig{Memory: storage.NewMemoryLayer()}, storage.Options{})
	if _, err := store.Snapshot(t.Context(), "a//b"); !errors.Is(err, storage.ErrInvalidPath) || !strings.Contains(err.Error(), `snapshot "a//b"`) {
		t.Errorf("of an invalid pattern: %v", err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Snapshot(done, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
	store.Close()
	if _, err := store.Snapshot(t.Context(), ""); !errors.Is(err, storage.ErrNotActive) {
		t.Errorf("of a closed store: %v", err)
	}
}

// stallingLayer is a layer whose commits fail, and whose scans stop, when a test says so.
type stallingLayer struct {
	*storagetest.BatchLayer
	fail    error
	scanned chan struct{} // set before the start; closed: scans go on behind their first object; nil: they do not stop
}

func (l *stallingLayer) Commit(changes []storage.Change) error {
	if l.fail != nil {
		return l.fail
	}
	return l.BatchLayer.Commit(changes)
}

func (l *stallingLayer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		first := true
		for obj, err := range l.BatchLayer.Scan(pattern) {
			if !first && l.scanned != nil {
				<-l.scanned
			}
			first = false
			if !yield(obj, err) {
				return
			}
		}
	}
}

// TestSnapshotDoesNotHoldWriters shows that a write succeeds while a scan that has begun does not
// get on.
func TestSnapshotDoesNotHoldWriters(t *testing.T) {
	layer := &stallingLayer{
		BatchLayer: storagetest.NewBatchLayer(&storagetest.Disk{}, "d"), scanned: make(chan struct{}),
	}
	store := started(t, storage.LayeredConfig{Embedded: layer}, storage.Options{})
	put(t, store, "a/1", "1")
	put(t, store, "a/2", "1")
	s := take(t, store, "")
	put(t, store, "a/2", "2")
	if obj, err := store.Get("a/2"); err != nil || string(obj.Data) != "2" {
		t.Errorf("the write during the snapshot left %q, %v", obj.Data, err)
	}
	close(layer.scanned)
	if got, want := lines(t, s.All()), []string{"a/1=1", "a/2=1"}; !slices.Equal(got, want) {
		t.Errorf("the snapshot held %q, want %q", got, want)
	}
}

// TestSnapshotOfAStoreThatStopped shows that what no commit acknowledged is in no snapshot.
func TestSnapshotOfAStoreThatStopped(t *testing.T) {
	for _, memory := range []bool{true, false} {
		t.Run(fmt.Sprintf("memory=%v", memory), func(t *testing.T) {
			layer := &stallingLayer{BatchLayer: storagetest.NewBatchLayer(&storagetest.Disk{}, "d")}
			config := storage.LayeredConfig{Embedded: layer}
			if memory {
				config.Memory = storage.NewMemoryLayer()
			}
			store := started(t, config, storage.Options{})
			put(t, store, "a/1", "1")
			layer.fail = errors.New("the disk is gone")
			if _, err := store.Set("a/1", []byte("2")); !errors.Is(err, storage.ErrWritesStopped) {
				t.Fatalf("the failed commit: %v", err)
			}
			s, err := store.Snapshot(t.Context(), "")
			if !memory {
				if !errors.Is(err, storage.ErrWritesStopped) || !errors.Is(err, layer.fail) {
					t.Errorf("a snapshot of the layer: %v, want %v", err, storage.ErrWritesStopped)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got, want := lines(t, s.All()), []string{"a/1=1"}; !slices.Equal(got, want) || s.Revision() != 1 {
				t.Errorf("%q at revision %d, want %q at 1", got, s.Revision(), want)
			}
		})
	}
}

// BenchmarkSnapshot tells how long writers wait for a snapshot: all that happens before the sort.
func BenchmarkSnapshot(b *testing.B) {
	for _, size := range []int{200_000, 1_000_000} {
		store := started(b, storage.LayeredConfig{Memory: storage.NewMemoryLayer()}, storage.Options{})
		for i := range size {
			put(b, store, key.Build(fmt.Sprintf("d%d/*", i%100)), `{"n":1}`)
		}
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := store.Snapshot(b.Context(), "")
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
		store.Close()
	}
}
