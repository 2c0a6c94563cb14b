package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// The soak campaign lives with one store for as long as it may, under a mixed load whose size does not grow, and
// looks whether anything else does.

// vitals are what must stay flat.
type vitals struct {
	heap       uint64 // bytes live after a collection
	goroutines int
	files      int           // open, of the process
	p99        time.Duration // of a durable Set, since the last look
}

func (v vitals) String() string {
	return fmt.Sprintf("heap %.1f MB, %d goroutines, %d files, p99 of a durable Set %v",
		float64(v.heap)/1e6, v.goroutines, v.files, v.p99.Round(10*time.Microsecond))
}

const (
	soakKeys     = 20_000
	soakWriters  = 8
	soakWatchers = 20
)

// soak is one run.
type soak struct {
	store     *storage.Layered
	mu        sync.Mutex // guards the field below
	latencies []time.Duration
	calls     atomic.Int64
	notices   atomic.Int64
}

// soakRound takes all the time of the campaign.
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
	looks := s.look(running, 30*time.Second)
	stop()
	group.Wait()
	store.Close()
	for _, err := range errs {
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

// settled waits a moment for goroutines that are on their way out, and counts.
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
		// Some thousand calls a second are enough to show a leak, and leave a machine its other work.
		time.Sleep(time.Duration(r.IntN(4)) * time.Millisecond)
	}
	return nil
}

func (s *soak) took(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latencies = append(s.latencies, d)
}

// watch follows a pattern for some seconds, slowly at times, and then another one.
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

// look measures every so often until the end.
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
	latencies := s.latencies
	s.latencies = nil
	s.mu.Unlock()
	slices.Sort(latencies)
	v := vitals{heap: m.HeapAlloc, goroutines: runtime.NumGoroutine()}
	if len(latencies) > 0 {
		v.p99 = latencies[len(latencies)*99/100]
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		v.files = len(open)
	}
	return v
}

// compareVitals holds the last quarter of the looks against the second: the first warms up.
func compareVitals(looks []vitals) error {
	if len(looks) < 8 {
		return nil // too short to tell
	}
	quarter := len(looks) / 4
	early, late := worst(looks[quarter:2*quarter]), worst(looks[len(looks)-quarter:])
	switch {
	case late.heap > early.heap*5/4+16<<20:
		return fmt.Errorf("the heap grows: from %v to %v", early, late)
	case late.goroutines > early.goroutines+30:
		return fmt.Errorf("goroutines grow: from %v to %v", early, late)
	case late.files > early.files+30:
		return fmt.Errorf("open files grow: from %v to %v", early, late)
	case late.p99 > 4*early.p99+20*time.Millisecond:
		return fmt.Errorf("latencies grow: from %v to %v", early, late)
	}
	return nil
}

func worst(looks []vitals) (w vitals) {
	for _, v := range looks {
		w = vitals{max(w.heap, v.heap), max(w.goroutines, v.goroutines), max(w.files, v.files), max(w.p99, v.p99)}
	}
	return w
}
