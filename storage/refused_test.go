package storage

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// What a layer gets to see of a group of which it refuses much grows with the group, and not with the group
// times what is refused.
func TestWorkOfAGroupThatIsRefused(t *testing.T) {
	for _, async := range []bool{false, true} {
		t.Run(fmt.Sprintf("async %v", async), func(t *testing.T) {
			few, many := seenOfRefused(t, async, 250), seenOfRefused(t, async, 1000)
			t.Logf("%d changes for 250 writes, %d for 1000", few, many)
			if many > 6*few {
				t.Errorf("250 writes of which most are refused make %d changes, 1000 make %d, want at most 6 times as many", few, many)
			}
		})
	}
}

// seenOfRefused writes n objects in one group, of which the layer refuses all but each tenth, and returns how
// many changes it was given.
func seenOfRefused(t *testing.T, async bool, n int) (seen int64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeBatcher()
		var layer EmbeddedLayer = fake
		if async {
			layer = &fakeAsync{fakeBatcher: fake}
		}
		s := start(t, LayeredConfig{Memory: NewMemoryLayer(), Embedded: layer}, Options{})
		var changes atomic.Int64
		open := make(chan struct{})
		fake.onCommit(func(batch []Change) error {
			if batch[0].Key == "first" {
				<-open
				return nil
			}
			changes.Add(int64(len(batch)))
			for i, c := range batch {
				if strings.HasPrefix(c.Key, "bad/") {
					return &EntryError{Index: i, Err: errors.New("refused")}
				}
			}
			return nil
		})
		var writers sync.WaitGroup
		writers.Go(func() { set(t, s, "first", "1") })
		synctest.Wait()
		for i := range n {
			writers.Go(func() {
				if i%10 == 0 {
					set(t, s, fmt.Sprintf("good/%d", i), "1")
				} else if _, err := s.Set(fmt.Sprintf("bad/%d", i), []byte("1")); err == nil || !strings.Contains(err.Error(), "refused") {
					t.Errorf("bad/%d: %v, want it refused", i, err)
				}
			})
			synctest.Wait()
		}
		close(open)
		writers.Wait()
		if got, err := s.Count("good/*"); err != nil || got != n/10 {
			t.Errorf("%d of %d good writes are there, %v", got, n/10, err)
		}
		if got, err := s.Count("bad/*"); err != nil || got != 0 {
			t.Errorf("%d refused writes are there, %v", got, err)
		}
		seen = changes.Load()
	})
	return seen
}

// The work of keeping lists within their limits grows with the changes, however many lists they are in.
func TestWorkOfManyLimits(t *testing.T) {
	s := start(t, LayeredConfig{Memory: NewMemoryLayer()}, Options{Retention: []Retention{{Pattern: "l/*/*", Count: 1}}})
	r := s.run.Load()
	work := func(n int) (looked int) {
		var leaves []*write
		for i := range n {
			w := &write{op: opSet, path: fmt.Sprintf("l/%d/a", i)}
			w.object.Path = w.path
			leaves = append(leaves, w, &write{op: opSet, path: "other/" + w.path})
			leaves[len(leaves)-1].object.Path = "other/" + w.path
		}
		for _, g := range r.growths(leaves) {
			looked += 1 + len(g.staged)
		}
		return looked
	}
	if few, many := work(1000), work(4000); few == 0 || many > 5*few {
		t.Errorf("1000 lists that grow take %d looks at changes, 4000 take %d", few, many)
	}
}

// A glob delete gives the layer one batch with each key once, and looks at no key that it does not match, however
// many there are; what it costs beside that, a sort above all, would hold up the writers of other keys.
func TestWorkOfAGlobDelete(t *testing.T) {
	work := func(n int) (allocations float64) {
		fake := newFakeBatcher()
		s := start(t, LayeredConfig{Memory: NewMemoryLayer(), Embedded: fake}, Options{})
		seen, batches := 0, 0
		fill := func() {
			for i := range n {
				set(t, s, fmt.Sprintf("l/%d/%d", i%3, i), "1")
				set(t, s, fmt.Sprintf("other/%d", i), "1")
			}
			seen, batches = 0, 0
		}
		fake.onCommit(func(changes []Change) error { seen, batches = seen+len(changes), batches+1; return nil })
		fill()
		must(t, s.Del("l/*/*"))
		if seen != n || batches != 1 {
			t.Errorf("a glob delete of %d keys gives the layer %d changes in %d batches", n, seen, batches)
		}
		fill()
		r := s.run.Load()
		return testing.AllocsPerRun(1, func() {
			if doomed, err := r.view.matching("l/*/*"); err != nil || len(doomed) != n {
				t.Errorf("%d of %d keys are to be deleted, %v", len(doomed), n, err)
			}
		})
	}
	if few, many := work(1000), work(4000); many > few+6 {
		t.Errorf("to select 1000 keys takes %v allocations, 4000 take %v", few, many)
	}
}
