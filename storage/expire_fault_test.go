package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// Expiry when things go wrong: layers that fail, clocks that jump, stores that close.

// A removal that fails is logged and tried again after a pause, and no read shows the object meanwhile.
func TestRemovalIsTriedAgain(t *testing.T) {
	logger, logged := logs()
	inBubble(t, Options{Logger: logger}, persistent, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		var seen tape
		s.Watch(seen.record)
		setTTL(t, s, "d/a", time.Second)
		var broken atomic.Bool
		var tries atomic.Int32
		broken.Store(true)
		fault := func() error {
			if !broken.Load() {
				return nil
			}
			tries.Add(1)
			return errors.New("not now")
		}
		fake.onCall(func(method, path string) error {
			if method == "Del" && path == "d/a" {
				return fault()
			}
			return nil
		})
		fake.onCommit(func(c []Change) error {
			if c[0].Key != "d/a" {
				return nil
			}
			if err := fault(); err != nil {
				return &EntryError{Index: 0, Err: err}
			}
			return nil
		})
		before := len(logged())
		time.Sleep(time.Second)
		synctest.Wait()
		for round := range int32(3) {
			if tries.Load() != round+1 {
				t.Fatalf("%d tries, want %d", tries.Load(), round+1)
			}
			if reads := showing(t, s, "d/a"); len(reads) != 0 {
				t.Errorf("it is in %q", reads)
			}
			// Other objects come and go meanwhile: they do not make the pause shorter.
			setTTL(t, s, "d/b", time.Hour)
			must(t, s.Del("d/b"))
			if round == 2 {
				broken.Store(false)
			}
			time.Sleep(expiryPause)
			synctest.Wait()
		}
		if _, there := fake.content()["d/a"]; there {
			t.Error("it is still in the layer")
		}
		if text := logged()[before:]; strings.Count(text, "could not be removed") != 3 || !strings.Contains(text, "not now") {
			t.Errorf("the log says %s", text)
		}
		if got := seen.lines(); got[len(got)-1] != "del d/a 1" {
			t.Errorf("saw %q", got)
		}
	})
}

// One object that cannot be removed, or not even read, keeps no other one.
func TestOneRemovalFails(t *testing.T) {
	logger, _ := logs()
	inBubble(t, Options{Logger: logger}, persistent, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		for i := range 20 {
			setTTL(t, s, numbered(i), time.Minute)
		}
		must(t, s.Del(numbered(0))) // not there when its time comes
		time.Sleep(time.Minute - 1)
		var healed atomic.Bool
		bad := func(path string) bool { return path == numbered(3) && !healed.Load() }
		fake.onCall(func(method, path string) error {
			if bad(path) && (method == "Del" || method == "Get" && k.fromLayer) {
				return errors.New("broken entry")
			}
			return nil
		})
		fake.onCommit(func(changes []Change) error {
			for i, c := range changes {
				if bad(c.Key) {
					return &EntryError{Index: i, Err: errors.New("broken entry")}
				}
			}
			return nil
		})
		time.Sleep(1)
		synctest.Wait()
		if left := fake.content(); len(left) != 1 || left[numbered(3)].Path == "" {
			t.Errorf("%d objects are left, want the broken one", len(left))
		}
		healed.Store(true)
		time.Sleep(expiryPause)
		synctest.Wait()
		if left := len(fake.content()); left != 0 {
			t.Errorf("%d objects are left once it is whole", left)
		}
	})
}

// When writes are stopped nothing can be removed: reads show nothing expired, and the next start removes it.
func TestExpiryWhenWritesAreStopped(t *testing.T) {
	logger, _ := logs()
	inBubble(t, Options{Logger: logger}, func(k kind) bool { return k.persistent && k.batches }, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		setTTL(t, s, "d/a", time.Minute)
		fake.onCommit(func([]Change) error { return errors.New("disk gone") })
		if err := setting(s, "b", "1")(); !errors.Is(err, ErrWritesStopped) {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if reads := showing(t, s, "d/a"); len(reads) != 0 {
			t.Errorf("it is in %q", reads)
		}
		if _, there := fake.content()["d/a"]; !there {
			t.Error("a store that takes no writes removed it")
		}
		fake.onCommit(nil)
		restart(t, s)
		expect(t, s, "d/a", "") // where nothing loads it, a read finds it
		synctest.Wait()
		if len(fake.content()) != 0 {
			t.Error("the next start did not remove it")
		}
	})
}

// A commit of removals that fails or panics stops the writes like any other.
func TestRemovalThatStopsTheWrites(t *testing.T) {
	for name, fault := range map[string]func([]Change) error{
		"error": func([]Change) error { return errors.New("disk gone") },
		"panic": func([]Change) error { panic("disk gone") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFakeBatcher()
				s := withLayer(t, fake)
				setTTL(t, s, "a", time.Minute)
				setTTL(t, s, "b", time.Hour)
				fake.onCommit(fault)
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if err := setting(s, "c", "1")(); !errors.Is(err, ErrWritesStopped) || !strings.Contains(err.Error(), "disk gone") {
					t.Errorf("a write after it = %v, want ErrWritesStopped", err)
				}
				expect(t, s, "a", "")
				expect(t, s, "b", "")
				if n := len(fake.commits()); n != 2 {
					t.Errorf("the layer was asked for %d commits, want those before the fault", n)
				}
			})
		})
	}
}

// A clock that was set back: what looked due is kept until its time comes again. Set forward: what
// is due is noticed within a minute.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		setTTL(t, s, "a", time.Hour)
		e := &s.run.Load().expirer
		e.wake() // as when the timer ran ahead of the wall clock
		e.wake()
		synctest.Wait()
		expect(t, s, "a", "1")
		if noted(s) != 1 {
			t.Fatalf("%d objects are noted, want 1", noted(s))
		}
		// It was due, and is no more when its turn comes.
		must(t, s.run.Load().removeAll(opExpire, []string{"a"}))
		expect(t, s, "a", "1")
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := s.Stats().Objects; n != 0 {
			t.Errorf("%d objects are left after the hour", n)
		}

		// To the books a clock that is set forward by a day is an end that comes a day earlier, and
		// a timer that knows nothing of it.
		obj := setTTL(t, s, "b", 25*time.Hour)
		obj.Expires = time.Now().Add(time.Hour).UnixNano()
		s.run.Load().memory.Put(obj)
		e.mu.Lock()
		e.byPath["b"].at = obj.Expires
		e.mu.Unlock()
		time.Sleep(time.Hour)
		expect(t, s, "b", "")
		time.Sleep(expiryPause)
		synctest.Wait()
		if n := s.Stats().Objects; n != 0 {
			t.Errorf("%d objects are left a minute after the jump", n)
		}
	})
}

// What cannot stream tells of its expired objects when they are read; what can, by itself, in the background.
func TestSearchAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, k := range kinds() {
			if !k.fromLayer {
				continue
			}
			fake := newFakeBatcher()
			past, soon := inUse("d/past"), inUse("d/soon")
			past.Expires, soon.Expires = 1, time.Now().Add(time.Minute).UnixNano()
			fake.objects = map[string]meta.Object{"d/past": past, "d/soon": soon, "d/stays": inUse("d/stays")}
			s := start(t, k.over(fake), Options{})
			synctest.Wait()
			streams := strings.Contains(k.name, "scanner")
			if _, there := fake.content()["d/past"]; there == streams {
				t.Errorf("%s: before any read the expired object is there: %v", k.name, there)
			}
			time.Sleep(time.Minute)
			if keys, err := s.Keys(); err != nil || !slices.Equal(keys, []string{"d/stays"}) {
				t.Errorf("%s: Keys = %q, %v", k.name, keys, err)
			}
			synctest.Wait()
			if n := len(fake.content()); n != 1 {
				t.Errorf("%s: %d objects are left in the layer", k.name, n)
			}
			s.Close()
		}
	})
}

// What is written while the search goes on is known by the write, and not by what the search saw.
func TestWritesDuringTheSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		fake := newFakeBatcher()
		end := time.Now().Add(time.Minute).UnixNano()
		for i := range 6 {
			obj := inUse(numbered(i))
			obj.Expires = end
			fake.objects[numbered(i)] = obj
		}
		fake.last = 6 // so that Start need not look whether anything is there
		layer := &fakeScanner{fakeBatcher: fake}
		var first atomic.Bool
		layer.scanned = func(string) error {
			if first.CompareAndSwap(false, true) {
				g.pass()
			}
			return nil
		}
		s := start(t, LayeredConfig{Embedded: layer}, Options{})
		<-g.arrived // the search has its snapshot
		set(t, s, numbered(0), "1")
		setTTL(t, s, numbered(1), time.Hour)
		must(t, s.Del(numbered(2)))
		must(t, s.Del(numbered(3)))
		set(t, s, numbered(3), "1")
		setTTL(t, s, numbered(4), time.Second)
		close(g.open)
		synctest.Wait()
		check := func(when string, want ...int) {
			t.Helper()
			synctest.Wait()
			var paths []string
			for _, i := range want {
				paths = append(paths, numbered(i))
			}
			keys, err := s.Keys()
			if list, e := s.GetList("k/*"); err != nil || e != nil || !slices.Equal(keys, paths) || len(list) != len(keys) {
				t.Errorf("%s: Keys = %q, a list of %d, %v, want %q", when, keys, len(list), errors.Join(err, e), paths)
			}
			if n := len(fake.content()); n != len(want) {
				t.Errorf("%s: %d objects in the layer, want %d", when, n, len(want))
			}
		}
		check("after the search", 0, 1, 3, 4, 5)
		time.Sleep(time.Second)
		check("after a second", 0, 1, 3, 5)
		time.Sleep(time.Minute)
		check("after a minute", 0, 1, 3)
		time.Sleep(time.Hour)
		check("after an hour", 0, 3)
	})
}

// A search that fails is logged, and costs no read its truth.
func TestSearchThatFails(t *testing.T) {
	for name, fault := range map[string]func() error{
		"error": func() error { return errors.New("broken entry") },
		"panic": func() error { panic("broken entry") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFakeBatcher()
				for i := range 3 {
					obj := inUse(numbered(i))
					obj.Expires = time.Now().Add(time.Minute).UnixNano()
					fake.objects[numbered(i)] = obj
				}
				layer := &fakeScanner{fakeBatcher: fake}
				var once atomic.Bool
				layer.scanned = func(path string) error {
					if path == numbered(1) && once.CompareAndSwap(false, true) {
						return fault()
					}
					return nil
				}
				logger, logged := logs()
				s := start(t, LayeredConfig{Embedded: layer}, Options{Logger: logger})
				synctest.Wait()
				if text := logged(); !strings.Contains(text, "search for expired objects") || !strings.Contains(text, "broken entry") {
					t.Errorf("the log says %q", text)
				}
				time.Sleep(time.Minute)
				if keys, err := s.Keys(); err != nil || len(keys) != 0 {
					t.Errorf("Keys = %q, %v, want none", keys, err)
				}
				synctest.Wait()
				if n := len(fake.content()); n != 0 {
					t.Errorf("%d objects are left once they were read", n)
				}
			})
		})
	}
}

// Close during a removal, and during the search, waits for it and leaves nothing running.
func TestCloseDuringExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		fake := newFakeBatcher()
		layer := &fakeScanner{fakeBatcher: fake}
		s := start(t, LayeredConfig{Embedded: layer}, Options{})
		for i := range 5 {
			setTTL(t, s, numbered(i), time.Minute)
		}
		fake.onCommit(func([]Change) error { g.pass(); return nil })
		time.Sleep(time.Minute)
		<-g.arrived
		closed := make(chan struct{})
		go func() { s.Close(); close(closed) }()
		synctest.Wait()
		if isClosed(closed) {
			t.Error("Close did not wait for the removal")
		}
		close(g.open)
		<-closed
		if len(fake.content()) != 0 {
			t.Error("the removal that was under way did not happen")
		}

		fake.onCommit(nil)
		g = newGate()
		for i := range 5 {
			fake.objects[numbered(i)] = inUse(numbered(i))
		}
		layer.scanned = func(string) error { g.pass(); return nil }
		must(t, s.Start(Options{}))
		<-g.arrived
		closed = make(chan struct{})
		go func() { s.Close(); close(closed) }()
		synctest.Wait()
		close(g.open)
		<-closed
		if n := len(g.arrived); n > 1 {
			t.Errorf("the search went on for %d objects after Close", n)
		}
	})
}

// Real time, and many goroutines: what has a time to live is gone in the end, and nothing else is.
func TestExpiryUnderLoad(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		done := make(chan struct{}, 4)
		for g := range 4 {
			go func() {
				defer func() { done <- struct{}{} }()
				for i := range 300 {
					path := fmt.Sprintf("d/%d/%d", g, i%20)
					opt := SetOptions{}
					if i%20 < 10 {
						opt.TTL = time.Duration(1 + i%7*int(100*time.Microsecond))
					}
					if _, err := s.SetWith(path, json.RawMessage("1"), opt); err != nil {
						t.Error(err)
					}
					if list, err := s.GetList("d/*/*"); err != nil {
						t.Error(err)
					} else if at := time.Now().UnixNano(); len(list) > 80 {
						t.Errorf("%d objects at %d", len(list), at)
					}
				}
			}()
		}
		for range 4 {
			<-done
		}
		deadline := time.Now().Add(10 * time.Second)
		for noted(s) > 0 && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if n, err := s.Count("d/*/*"); n != 40 || err != nil {
			t.Errorf("Count = %d, %v, want the 40 that stay", n, err)
		}
		if n := len(fake.content()); k.persistent && n != 40 {
			t.Errorf("%d objects in the layer, want 40", n)
		}
	})
}
