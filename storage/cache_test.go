package storage

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/oolith-db/oolith/meta"
)

// cached returns a store in the cache mode over a layer.
func cached(t testing.TB, layer EmbeddedLayer) *Layered {
	t.Helper()
	return start(t, LayeredConfig{
		Memory: NewMemoryLayer(), MemoryOptions: LayerOptions{SkipLoadMemory: true}, Embedded: layer,
	}, Options{})
}

// gate stops the goroutines that pass it, until it is opened.
type gate struct {
	arrived, open chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}, 100), make(chan struct{})} }

func (g *gate) pass() {
	g.arrived <- struct{}{}
	<-g.open
}

// holdsOld returns a layer whose Gets of "u/a", after they have read, stop at a gate. The
// first one only.
func holdsOld(layer *fakeLayer) *gate {
	g := newGate()
	var passed atomic.Bool
	layer.after = func(method, key string) {
		if method == "Get" && key == "u/a" && passed.CompareAndSwap(false, true) {
			g.pass()
		}
	}
	return g
}

// A read that began before a change never fills the cache with what was there then.
func TestSlowFillNeverUndoesACommit(t *testing.T) {
	changes := []struct {
		name   string
		change func(*Layered) error
		want   string
		// waits says that it waits for reads of a layer that makes its deletes one by one.
		waits bool
	}{
		{"del", func(s *Layered) error { return s.Del("u/a") }, "", false},
		{"set", func(s *Layered) error { _, err := s.Set("u/a", []byte("2")); return err }, "2", false},
		{"glob del", func(s *Layered) error { return s.Del("u/*") }, "", true},
		{"clear", func(s *Layered) error { return s.Truncate() }, "", true},
		{"del and set", func(s *Layered) error {
			_, err := s.Set("u/a", []byte("3"))
			return errors.Join(s.Del("u/a"), err, second(s.Set("u/a", []byte("4"))))
		}, "4", false},
	}
	for _, test := range changes {
		for _, batching := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/batch=%v", test.name, batching), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := newFakeBatcher()
					fake.objects["u/a"] = meta.Object{Path: "u/a", Data: []byte("1"), Created: 1}
					g := holdsOld(fake.fakeLayer)
					var layer EmbeddedLayer = fake
					if !batching {
						layer = fake.fakeLayer
					}
					s := cached(t, layer)
					read := make(chan string)
					go func() {
						obj, _ := s.Get("u/a")
						read <- string(obj.Data)
					}()
					<-g.arrived // it has read the old object
					if test.waits && !batching {
						go close(g.open)
						must(t, test.change(s))
					} else {
						must(t, test.change(s))
						close(g.open)
					}
					if got := <-read; got != "1" {
						t.Errorf("the slow read returned %q, want what it found", got)
					}
					for range 2 {
						expect(t, s, "u/a", test.want)
					}
					list, err := s.GetList("u/*")
					if err != nil || (len(list) == 1) != (test.want != "") {
						t.Errorf("GetList = %v, %v", list, err)
					}
				})
			})
		}
	}
}

func second(_ string, err error) error { return err }

// While a commit is under way, readers see what the layer has, and fill nothing.
func TestFillDuringACommit(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("kept=%v", keep), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFakeBatcher()
				fake.objects["u/a"] = meta.Object{Path: "u/a", Data: []byte("1"), Created: 1}
				g := newGate()
				fake.commit = func([]Change) error {
					g.pass()
					if !keep {
						return &EntryError{Err: errors.New("refused")}
					}
					return nil
				}
				s := cached(t, fake)
				expect(t, s, "u/a", "1") // now in memory
				written := make(chan error)
				go func() { _, err := s.Set("u/a", []byte("2")); written <- err }()
				<-g.arrived
				for range 2 {
					expect(t, s, "u/a", "1")
				}
				if _, ok := s.run.Load().view.(layerView).cache.objects.Peek("u/a"); ok {
					t.Error("memory holds a key that a commit is changing")
				}
				close(g.open)
				want := "2"
				if err := <-written; !keep {
					want = "1"
					if err == nil {
						t.Error("Set worked, want the layer's error")
					}
				}
				for range 2 {
					expect(t, s, "u/a", want)
				}
				if obj, ok := s.run.Load().view.(layerView).cache.objects.Peek("u/a"); !ok || string(obj.Data) != want {
					t.Errorf("memory holds %v after the commit and a read, want %s", obj, want)
				}
			})
		})
	}
}

// The second read of a key does not go to the layer, and neither does one of what took the place of a key that was read.
// What is only written is not held.
func TestCacheIsUsed(t *testing.T) {
	each(t, Options{}, isCache, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		gets := 0
		fake.onCall(func(method, _ string) error {
			if method == "Get" {
				gets++
			}
			return nil
		})
		held := func() int { return s.Stats().Objects }
		set(t, s, "a", "1")
		set(t, s, "b", "1")
		if held() != 0 {
			t.Errorf("%d objects are held that nobody has read", held())
		}
		gets = 0
		expect(t, s, "a", "1")
		expect(t, s, "a", "1")
		if gets != 1 || held() != 1 {
			t.Errorf("two reads made %d calls of the layer, and %d objects are held, want 1 and 1", gets, held())
		}
		set(t, s, "a", "2")
		set(t, s, "b", "2")
		gets = 0
		expect(t, s, "a", "2")
		if gets != 0 || held() != 1 {
			t.Errorf("the read of what was read before a write made %d calls of the layer, %d objects are held, want 0 and 1", gets, held())
		}
		if k.batches {
			var batch Batch
			batch.Set("a", []byte("3"))
			batch.Set("c", []byte("3"))
			batch.Del("b")
			must(t, second2(s.Commit(&batch)))
			gets = 0
			expect(t, s, "a", "3")
			if gets != 0 || held() != 1 {
				t.Errorf("the read of what was read before a batch made %d calls of the layer, %d objects are held, want 0 and 1", gets, held())
			}
		}
		must(t, s.Del("a"))
		set(t, s, "a", "4")
		if held() != 0 {
			t.Errorf("%d objects are held after a delete", held())
		}
	})
}

func isCache(k kind) bool { return strings.HasPrefix(k.name, "cache") }

func second2(_ []meta.Object, err error) error { return err }

// TestCacheIsBounded reads and writes more than fits, and what is read again and again stays.
func TestCacheIsBounded(t *testing.T) {
	for _, objects := range []int{1000, 4000} {
		fake := newFakeBatcher()
		s := start(t, LayeredConfig{
			Memory: NewMemoryLayer(), MemoryOptions: LayerOptions{SkipLoadMemory: true, CacheBytes: 50_000}, Embedded: fake,
		}, Options{})
		for i := range objects {
			set(t, s, numbered(i), fmt.Sprintf("%q", strings.Repeat("x", 100)))
		}
		for i := range objects {
			_ = object(t, s, numbered(i))
			set(t, s, numbered((i+objects/2)%objects), "1")
			_ = object(t, s, numbered(0))
		}
		stats := s.Stats()
		if stats.CacheLimit != 50_000 || stats.CacheBytes > 50_000 || stats.CacheBytes < 40_000 || stats.Objects > 50_000/256 ||
			stats.CacheEvictions < uint64(objects-50_000/256) || stats.CacheHits != uint64(objects) {
			t.Errorf("of %d objects: %+v", objects, stats)
		}
	}
	s := New(LayeredConfig{
		Memory: NewMemoryLayer(), MemoryOptions: LayerOptions{SkipLoadMemory: true, CacheBytes: -1}, Embedded: newFake(),
	})
	if err := s.Start(Options{}); !errors.Is(err, ErrInvalidOptions) || !strings.Contains(err.Error(), "-1") {
		t.Errorf("Start with CacheBytes -1 = %v", err)
	}
}

// Under load, in the cache mode: what a point read has seen, a list and the next point
// read see too, and the other way round.
func TestCacheReadsAgree(t *testing.T) {
	s := cached(t, newFakeBatcher())
	set(t, s, "u/a", "0")
	var group sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		group.Go(func() {
			for !isClosed(done) {
				first, _ := s.Get("u/a")
				list, err := s.GetList("u/*")
				if err != nil {
					t.Error(err)
				}
				last, _ := s.Get("u/a")
				// Deleted in between is fine: a revision of 0 says nothing.
				listed := first.Revision
				if len(list) == 1 {
					listed = list[0].Revision
				}
				if listed < first.Revision || last.Revision != 0 && last.Revision < listed {
					t.Errorf("read %d, listed %d, read %d", first.Revision, listed, last.Revision)
					return
				}
			}
		})
	}
	for i := range 3000 {
		set(t, s, "u/a", fmt.Sprint(i))
		switch i % 20 {
		case 5:
			must(t, s.Del("u/a"))
		case 10:
			must(t, s.Del("u/*"))
		case 15:
			must(t, s.Truncate())
		}
	}
	close(done)
	group.Wait()
}
