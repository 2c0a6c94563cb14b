package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// The soak campaign runs one store for as long as possible, under a mixed load of constant size, and checks that
// nothing else grows.

// vitals are the values that must stay flat.
type vitals struct {
	heap       uint64 // bytes live after a collection
	goroutines int
	files      int           // open, of the process
	p99        time.Duration // of a durable Set, since the last look
	bare       time.Duration // the same for a file that is written and synced concurrently
}

func (v vitals) String() string {
	return fmt.Sprintf("heap %.1f MB, %d goroutines, %d files, p99 of a durable Set %v, of a bare sync %v",
		float64(v.heap)/1e6, v.goroutines, v.files, v.p99.Round(10*time.Microsecond), v.bare.Round(10*time.Microsecond))
}

const (
	soakKeys     = 20_000
	soakWriters  = 8
	soakWatchers = 20
)

// soak is one run.
type soak struct {
	store     *storage.Layered
	mu        sync.Mutex // guards the two fields below
	latencies []time.Duration
	syncs     []time.Duration // of the bare file
	calls     atomic.Int64
	notices   atomic.Int64
}

// soakRound uses all the time of the campaign.
func soakRound(ctx context.Context, c config, t *tally) error {
	before := runtime.NumGoroutine()
	store, err := openURL(fmt.Sprintf(engines[0], c.dir))
	if err != nil {
		return err
	}
	s := &soak{store: store}
	running, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	errs := make([]error, soakWriters+soakWatchers)
	for i := range errs {
		r := rand.New(rand.NewPCG(c.seed, uint64(i)))
		work := s.write
		if i >= soakWriters {
			work = s.watch
		}
		group.Go(func() {
			if errs[i] = work(running, r); errs[i] != nil {
				stop()
			}
		})
	}
	var bare error
	group.Go(func() { bare = s.syncBare(running, filepath.Join(c.dir, "bare")) })
	looks := s.look(running, 30*time.Second)
	stop()
	group.Wait()
	store.Close()
	for _, err := range append(errs, bare) {
		if err != nil {
			return err
		}
	}
	t.add("calls", int(s.calls.Load()))
	t.add("notices", int(s.notices.Load()))
	t.add("looks", len(looks))
	if left := settled(before); left > before {
		return fmt.Errorf("%d goroutines are left behind Close, there were %d", left, before)
	}
	return compareVitals(looks)
}

// settled waits a short time for goroutines that are ending, and counts.
func settled(want int) int {
	for range 100 {
		if runtime.NumGoroutine() <= want {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return runtime.NumGoroutine()
}

// write makes random calls on a bounded set of keys.
func (s *soak) write(ctx context.Context, r *rand.Rand) error {
	for n := 0; ctx.Err() == nil; n++ {
		path := fmt.Sprintf("soak/d%d/k%d", r.IntN(20), r.IntN(soakKeys/20))
		var err error
		switch r.IntN(20) {
		case 0:
			_, err = s.store.SetWith(path, fmt.Appendf(nil, "%d", n), storage.SetOptions{TTL: time.Duration(r.IntN(2000)) * time.Millisecond})
		case 1:
			if err = s.store.Lock(path); err == nil {
				_, err = s.store.SetAndUnlock(path, fmt.Appendf(nil, "%d", n))
			}
		case 2:
			var b storage.Batch
			for i := range 10 {
				b.Set(fmt.Sprintf("%s-%d", path, i), fmt.Appendf(nil, "%d", n))
			}
			_, err = s.store.Commit(&b)
		case 3:
			err = s.store.Del(path + "-*")
		case 4:
			_, err = s.store.GetN(fmt.Sprintf("soak/d%d/*", r.IntN(20)), 100)
		default:
			begin := time.Now()
			_, err = s.store.Set(path, fmt.Appendf(nil, `{"n":%d}`, n))
			s.took(time.Since(begin))
		}
		s.calls.Add(1)
		if err != nil {
			return err
		}
		// Some thousand calls a second are enough to show a leak, and leave capacity for other work.
		time.Sleep(time.Duration(r.IntN(4)) * time.Millisecond)
	}
	return nil
}

// syncBare writes and syncs a file, which shows how busy the machine and its disk are.
func (s *soak) syncBare(ctx context.Context, name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	for ctx.Err() == nil {
		begin := time.Now()
		_, err := file.WriteAt(make([]byte, 200), 0)
		if err == nil {
			err = file.Sync()
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.syncs = append(s.syncs, time.Since(begin))
		s.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

func (s *soak) took(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latencies = append(s.latencies, d)
}

// watch follows a pattern for some seconds, sometimes slowly, and then another one.
func (s *soak) watch(ctx context.Context, r *rand.Rand) error {
	for ctx.Err() == nil {
		life, cancel := context.WithTimeout(ctx, time.Duration(1+r.IntN(5))*time.Second)
		sub, err := s.store.Subscribe(life, fmt.Sprintf("soak/d%d/*", r.IntN(20)), storage.SubscribeOptions{
			Lag: storage.LagPolicy(r.IntN(2)), Buffer: 1000,
		})
		if err != nil {
			cancel()
			return err
		}
		slow := r.IntN(4) == 0
		for {
			if _, err := sub.Next(life); err != nil {
				break // its time is over
			}
			s.notices.Add(1)
			if slow {
				time.Sleep(time.Millisecond)
			}
		}
		sub.Close()
		cancel()
	}
	return nil
}

// look measures at intervals until the end.
func (s *soak) look(ctx context.Context, every time.Duration) (looks []vitals) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return looks
		case <-ticker.C:
		}
		looks = append(looks, s.measure())
		fmt.Fprintf(os.Stderr, "soak: %v\n", looks[len(looks)-1])
	}
}

func (s *soak) measure() vitals {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.mu.Lock()
	latencies, syncs := s.latencies, s.syncs
	s.latencies, s.syncs = nil, nil
	s.mu.Unlock()
	v := vitals{heap: m.HeapAlloc, goroutines: runtime.NumGoroutine(), p99: p99(latencies), bare: p99(syncs)}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		v.files = len(open)
	}
	return v
}

func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// slowdown returns the ratio of the time of a durable Set to the time of a bare sync, in the middle of some looks: on
// a machine that gets busier both are slower.
func slowdown(looks []vitals) float64 {
	ratios := make([]float64, len(looks))
	for i, v := range looks {
		ratios[i] = float64(v.p99) / float64(max(v.bare, time.Microsecond))
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// compareVitals compares the last quarter of the looks with the second: the first is the warm-up.
func compareVitals(looks []vitals) error {
	if len(looks) < 8 {
		return nil // too short for a result
	}
	quarter := len(looks) / 4
	first, last := looks[quarter:2*quarter], looks[len(looks)-quarter:]
	early, late := worst(first), worst(last)
	switch {
	case late.heap > early.heap*5/4+16<<20:
		return fmt.Errorf("the heap grows: from %v to %v", early, late)
	case late.goroutines > early.goroutines+30:
		return fmt.Errorf("goroutines grow: from %v to %v", early, late)
	case late.files > early.files+30:
		return fmt.Errorf("open files grow: from %v to %v", early, late)
	case slowdown(last) > 3*slowdown(first)+3:
		return fmt.Errorf("latencies grow: from %.1f to %.1f times those of a bare sync", slowdown(first), slowdown(last))
	}
	return nil
}

func worst(looks []vitals) (w vitals) {
	for _, v := range looks {
		w = vitals{max(w.heap, v.heap), max(w.goroutines, v.goroutines), max(w.files, v.files), max(w.p99, v.p99), max(w.bare, v.bare)}
	}
	return w
}
