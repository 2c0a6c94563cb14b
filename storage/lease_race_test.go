package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Leases of a moment, renewed, released and left, with locks and stray unlocks between, from
// many goroutines at once: no two hold the lock together.
func TestLeasesRace(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := inMemory(t)
	var mu sync.Mutex // guards newest
	var newest *Lease
	took := func(lease *Lease) {
		mu.Lock()
		defer mu.Unlock()
		older, newer := newest, lease
		if older == nil {
			newest = lease
			return
		}
		if older.Token() > newer.Token() {
			older, newer = newer, older
		}
		if !isDone(older) {
			t.Errorf("lease %d holds the lock beside the later one %d", older.Token(), newer.Token())
		}
		newest = newer
	}
	var released, lost atomic.Int64
	var group sync.WaitGroup
	for g := range 8 {
		rng := rand.New(rand.NewPCG(seed, uint64(g)))
		group.Go(func() {
			for range 400 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(2000))*time.Microsecond)
				lease, err := s.Acquire(ctx, "a", time.Duration(1+rng.IntN(100))*time.Microsecond)
				cancel()
				if errors.Is(err, context.DeadlineExceeded) {
					continue
				}
				if err != nil {
					t.Errorf("Acquire = %v", err)
					return
				}
				took(lease)
				if rng.IntN(2) == 0 {
					err := lease.Renew(time.Duration(1+rng.IntN(100)) * time.Microsecond)
					if (err != nil) != errors.Is(err, ErrLeaseLost) {
						t.Errorf("Renew = %v", err)
					}
				}
				switch rng.IntN(3) {
				case 0:
					<-lease.Done()
				case 1:
					if err := s.Unlock("a"); err == nil {
						t.Error("Unlock worked where nobody has a lock without an owner")
					} else if !errors.Is(err, ErrLockOwned) && !errors.Is(err, ErrLockNotFound) {
						t.Errorf("Unlock = %v", err)
					}
				}
				switch err := lease.Release(); {
				case err == nil:
					released.Add(1)
				case errors.Is(err, ErrLeaseLost):
					lost.Add(1)
				default:
					t.Errorf("Release = %v", err)
				}
				if !isDone(lease) {
					t.Error("Done is open after Release")
				}
			}
		})
	}
	group.Wait()
	t.Logf("%d released in time, %d lost", released.Load(), lost.Load())
	checkNoLocks(t, s)
}

// Close comes in the middle of everything.
func TestLeasesDuringClose(t *testing.T) {
	for range 50 {
		s := openMemory(t, Options{})
		var group sync.WaitGroup
		leases := make(chan *Lease, 1000)
		for g := range 4 {
			group.Go(func() {
				for {
					lease, err := s.Acquire(t.Context(), fmt.Sprintf("a/%d", g%2), time.Millisecond)
					if errors.Is(err, ErrNotActive) {
						return
					}
					if err != nil {
						t.Errorf("Acquire = %v", err)
						return
					}
					select {
					case leases <- lease:
					default:
						return
					}
					if g == 0 {
						continue
					}
					if err := lease.Release(); err != nil && !errors.Is(err, ErrLeaseLost) {
						t.Errorf("Release = %v", err)
					}
				}
			})
		}
		for range 20 {
			<-leases
		}
		s.Close()
		group.Wait()
		close(leases)
		for lease := range leases {
			if !isDone(lease) {
				t.Error("a lease outlives the store")
			}
		}
	}
}
