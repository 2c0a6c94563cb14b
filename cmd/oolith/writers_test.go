package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestPoolKeepsTheOrderOfAPath adds records of a few paths in random order: all are
// stored, those of one path in the order in which they were added.
func TestPoolKeepsTheOrderOfAPath(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	got, want := map[string][]int64{}, map[string][]int64{}
	var done atomic.Int64
	p := startPool(8, func(j job) error {
		mu.Lock()
		defer mu.Unlock()
		got[j.path] = append(got[j.path], j.number)
		return nil
	}, func(job, error) { done.Add(1) })
	for i := range int64(5000) {
		path := fmt.Sprint("p", random.IntN(40))
		want[path] = append(want[path], i)
		p.add(job{number: i, path: path})
	}
	p.wait()
	if done.Load() != 5000 {
		t.Errorf("%d records done, want 5000", done.Load())
	}
	for path := range want {
		if !slices.Equal(got[path], want[path]) {
			t.Errorf("%s was stored in the order %v, want %v", path, got[path], want[path])
		}
	}
}

// TestPoolWritesAtOnce shows that all writers are in the store together, which is what
// fills its groups.
func TestPoolWritesAtOnce(t *testing.T) {
	const n = 8
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var inside atomic.Int64
		p := startPool(n, func(job) error {
			inside.Add(1)
			<-release
			return nil
		}, func(job, error) {})
		lanes := map[int]bool{}
		for i := 0; len(lanes) < n; i++ {
			if j := (job{path: fmt.Sprint(i)}); !lanes[p.lane(j.path)] {
				lanes[p.lane(j.path)] = true
				p.add(j)
			}
		}
		synctest.Wait()
		if inside.Load() != n {
			t.Errorf("%d writers at once, want %d", inside.Load(), n)
		}
		close(release)
		p.wait()
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		b.acquire(60)
		var entered atomic.Bool
		go func() {
			b.acquire(1000) // as much as there is, and alone
			entered.Store(true)
		}()
		synctest.Wait()
		if entered.Load() {
			t.Error("1000 of 100 bytes were taken while 60 were in use")
		}
		b.release(60)
		synctest.Wait()
		if !entered.Load() {
			t.Error("1000 bytes wait though nothing else is in use")
		}
		b.release(1000)
		b.acquire(100)
		if b.left != 0 {
			t.Errorf("%d bytes left, want 0", b.left)
		}
	})
}
