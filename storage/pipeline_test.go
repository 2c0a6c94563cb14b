package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/oolith-db/oolith/monotonic"
)

// queued makes writes wait in a known order behind one that is in the layer's Commit, and
// returns when all are answered. Their errors come in the order of writes. fail is called
// by each later Commit. It needs the bubble of synctest.
func queued(t *testing.T, layer *fakeBatcher, s *Layered, fail func([]Change) error, writes ...func() error) []error {
	t.Helper()
	g := newGate()
	var inside atomic.Bool
	layer.commit = func(changes []Change) error {
		if inside.CompareAndSwap(false, true) {
			g.pass()
			return nil
		}
		return fail(changes)
	}
	var group sync.WaitGroup
	group.Go(func() { set(t, s, "first", "1") })
	<-g.arrived
	errs := make([]error, len(writes))
	for i, write := range writes {
		group.Go(func() { errs[i] = write() })
		synctest.Wait() // in the queue, in its place
	}
	close(g.open)
	group.Wait()
	return errs
}

func noFault([]Change) error { return nil }

func setting(s *Layered, path, data string) func() error {
	return func() error { _, err := s.Set(path, []byte(data)); return err }
}

func deleting(s *Layered, path string) func() error { return func() error { return s.Del(path) } }

func TestWritersShareACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newFakeBatcher()
		s := withLayer(t, layer)
		writes := make([]func() error, 64)
		for i := range writes {
			writes[i] = setting(s, numbered(i), "1")
		}
		for i, err := range queued(t, layer, s, noFault, writes...) {
			if err != nil {
				t.Errorf("write %d: %v", i, err)
			}
		}
		if got := layer.commits(); !slices.Equal(got, []int{1, 64}) {
			t.Errorf("the commits had %v changes, want [1 64]", got)
		}
		for i := range writes {
			obj, err := s.Get(numbered(i))
			if err != nil || obj.Revision != uint64(i+2) {
				t.Errorf("write %d has revision %d, %v, want %d", i, obj.Revision, err, i+2)
			}
		}
	})
}

// One store's bubble ends, the next one's begins: nothing is shared between stores.
func TestStoresShareNothing(t *testing.T) {
	for range 3 {
		TestWritersShareACommit(t)
	}
	s := withLayer(t, newFakeBatcher())
	var group sync.WaitGroup
	for g := range 16 {
		group.Go(func() {
			for i := range 50 {
				set(t, s, fmt.Sprintf("%d/%d", g, i), "1")
			}
		})
	}
	group.Wait()
}

// The writes of one group see each other.
func TestOneKeyInOneGroup(t *testing.T) {
	for _, memory := range []bool{true, false} {
		t.Run(fmt.Sprintf("memory=%v", memory), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				layer := newFakeBatcher()
				cfg := LayeredConfig{Embedded: layer}
				if memory {
					cfg.Memory = NewMemoryLayer()
				}
				s := start(t, cfg, Options{})
				var seen tape
				s.Watch(seen.record)
				errs := queued(t, layer, s, noFault,
					deleting(s, "a"), setting(s, "a", "1"), setting(s, "a", "2"), deleting(s, "a"), deleting(s, "a"),
					setting(s, "a", "3"), setting(s, "b", "4"), deleting(s, "b"))
				for i, err := range errs {
					if want := i == 0 || i == 4; errors.Is(err, ErrNotFound) != want || (err != nil) != want {
						t.Errorf("write %d = %v", i, err)
					}
				}
				expect(t, s, "a", "3")
				expect(t, s, "b", "")
				obj, _ := s.Get("a")
				if obj.Updated != 0 || obj.Revision != 5 {
					t.Errorf("the last object of the group is %+v, want a new one, revision 5", obj)
				}
				synctest.Wait()
				want := []string{"set first 1", "set a 1", "set a 2", "del a 2", "set a 3", "set b 4", "del b 4"}
				if got := seen.lines(); !slices.Equal(got, want) {
					t.Errorf("saw %q, want %q", got, want)
				}
				if got := layer.commits(); !slices.Equal(got, []int{1, 6}) {
					t.Errorf("the commits had %v changes, want [1 6]", got)
				}
			})
		})
	}
}

// A refused change fails its caller only. What the others found of it is found anew.
func TestRefusedChange(t *testing.T) {
	refuse := func(key string, del bool) func([]Change) error {
		return func(changes []Change) error {
			for i, c := range changes {
				if c.Key == key && (c.Object == nil) == del {
					return &EntryError{Index: i, Err: errors.New("too large")}
				}
			}
			return nil
		}
	}
	synctest.Test(t, func(t *testing.T) {
		layer := newFakeBatcher()
		s := withLayer(t, layer)
		var seen tape
		s.Watch(seen.record)
		errs := queued(t, layer, s, refuse("big", false),
			setting(s, "a", "1"), setting(s, "big", "2"), deleting(s, "big"), setting(s, "b", "3"), setting(s, "big", "4"))
		for i, want := range []string{"", "too large", "not found", "", "too large"} {
			if got := fmt.Sprint(errs[i]); want == "" && errs[i] != nil || !strings.Contains(got, want) {
				t.Errorf("write %d = %v, want %q", i, errs[i], want)
			}
		}
		a, _ := s.Get("a")
		b, _ := s.Get("b")
		if a.Revision != 2 || b.Revision != 3 {
			t.Errorf("the others have revisions %d and %d, want 2 and 3", a.Revision, b.Revision)
		}
		expect(t, s, "big", "")
		synctest.Wait()
		if got, want := seen.lines(), []string{"set first 1", "set a 1", "set b 3"}; !slices.Equal(got, want) {
			t.Errorf("saw %q, want %q", got, want)
		}
		layer.commit = nil
		set(t, s, "c", "5") // writes go on
	})
}

// When a delete is refused, its key is there, for the writes behind it as well.
func TestRefusedDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newFakeBatcher()
		s := withLayer(t, layer)
		set(t, s, "a", "1")
		refused := false
		once := func(changes []Change) error {
			if refused {
				return nil
			}
			refused = true
			return &EntryError{Index: 0, Err: errors.New("not now")}
		}
		errs := queued(t, layer, s, once, deleting(s, "a"), setting(s, "a", "2"), deleting(s, "a"), deleting(s, "a"))
		if errs[0] == nil || errs[1] != nil || errs[2] != nil || !errors.Is(errs[3], ErrNotFound) {
			t.Errorf("the writes got %v", errs)
		}
		expect(t, s, "a", "")

		set(t, s, "a", "1")
		refused = false
		errs = queued(t, layer, s, once, deleting(s, "a"), deleting(s, "a"))
		if errs[0] == nil || errors.Is(errs[0], ErrNotFound) || errs[1] != nil {
			t.Errorf("a refused delete and another got %v, want an error and none", errs)
		}
		expect(t, s, "a", "")
	})
}

// After an error that leaves open what the layer kept, nothing is written, and reads go on.
func TestFailedCommitStopsWrites(t *testing.T) {
	faults := map[string]func([]Change) error{
		"error":           func([]Change) error { return errors.New("disk gone") },
		"panic":           func([]Change) error { panic("disk gone") },
		"index too large": func(c []Change) error { return &EntryError{Index: len(c), Err: errors.New("disk gone")} },
		"negative index":  func([]Change) error { return &EntryError{Index: -1, Err: errors.New("disk gone")} },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				layer := newFakeBatcher()
				s := withLayer(t, layer)
				set(t, s, "a", "1")
				var seen tape
				s.Watch(seen.record)
				fail := func(c []Change) error {
					if c[0].Key == "first" {
						return nil
					}
					return fault(c)
				}
				creating := func() error {
					_, err := s.SetWith("b", []byte("3"), SetOptions{IfAbsent: true})
					return err
				}
				// The second of each finds what the first made, which comes to nothing.
				errs := queued(t, layer, s, fail, setting(s, "a", "2"), creating, creating, deleting(s, "a"), deleting(s, "a"), deleting(s, "*"))
				layer.commit = nil
				errs = append(errs, setting(s, "c", "4")(), s.Del("a"), s.Del("*"), s.Truncate(), second(s.Push("l/*", []byte("1"))))
				for i, err := range errs {
					if !errors.Is(err, ErrWritesStopped) || !strings.Contains(err.Error(), "disk gone") {
						t.Errorf("write %d = %v, want ErrWritesStopped and its cause", i, err)
					}
				}
				expect(t, s, "a", "1")
				expect(t, s, "b", "")
				synctest.Wait()
				if got := seen.lines(); !slices.Equal(got, []string{"set first 1"}) {
					t.Errorf("saw %q of writes that failed", got)
				}
				s.Close()
				must(t, s.Start(Options{}))
				set(t, s, "a", "5")
				expect(t, s, "a", "5")
			})
		})
	}
}

// A push never overwrites what an earlier process, with another clock, has put there.
func TestPushGoesAroundWhatIsThere(t *testing.T) {
	for _, memory := range []bool{true, false} {
		layer := newFakeBatcher()
		var taken atomic.Int32
		layer.before = func(method, k string) error {
			if method == "Get" && taken.Add(1) < 4 {
				set := k // the first indices asked for are taken
				layer.mu.Lock()
				layer.objects[set] = inUse(set)
				layer.mu.Unlock()
			}
			return nil
		}
		cfg := LayeredConfig{Embedded: layer}
		if memory {
			cfg.Memory, cfg.MemoryOptions.SkipLoadMemory = NewMemoryLayer(), true
		}
		s := start(t, cfg, Options{})
		before := monotonic.Now()
		index, err := s.Push("l/*", []byte("2"))
		must(t, err)
		expect(t, s, "l/"+index, "2")
		list, err := s.GetList("l/*")
		if err != nil || len(list) != 4 {
			t.Errorf("memory=%v: %d objects, %v, want the three that were there and the pushed one", memory, len(list), err)
		}
		if obj, _ := s.Get("l/" + index); obj.Created <= before {
			t.Errorf("memory=%v: pushed at %d, before %d", memory, obj.Created, before)
		}
	}
}

// A layer that panics, anywhere in a write, costs errors: no write hangs or is half done in memory.
func TestPanickingLayer(t *testing.T) {
	for _, method := range []string{"Set", "Del", "Clear"} {
		t.Run(method, func(t *testing.T) {
			layer := newFake()
			var broken atomic.Bool
			layer.before = func(m, _ string) error {
				if m == method && broken.Load() {
					panic("broken layer")
				}
				return nil
			}
			s := start(t, LayeredConfig{Embedded: layer}, Options{})
			set(t, s, "u/a", "1")
			broken.Store(true)
			calls := map[string]func() error{
				"Set": setting(s, "u/a", "2"), "Del": deleting(s, "u/a"), "Clear": s.Truncate,
			}
			for range 2 {
				if err := calls[method](); !errors.Is(err, ErrWritesStopped) || !strings.Contains(err.Error(), "broken layer") {
					t.Errorf("got %v, want ErrWritesStopped and its cause", err)
				}
			}
			broken.Store(false)
			expect(t, s, "u/a", "1")
		})
	}
}
