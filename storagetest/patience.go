package storagetest

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// How the suite waits. A machine may be slow, and a disk slower, so no wait has a fixed duration. A clause fails if
// nothing advances for the duration of Options.Patience: no write returns and no event arrives.

// defaultPatience is longer than one sync of a busy disk.
const defaultPatience = 30 * time.Second

// beats counts the progress of a run of the suite.
type beats struct{ count atomic.Uint64 }

// advance records progress: a call returned, or an event arrived.
func (b *beats) advance() { b.count.Add(1) }

func (s *subject) patience() time.Duration {
	if s.Patience > 0 {
		return s.Patience
	}
	return defaultPatience
}

// impatient returns the end of a message about something that did not happen.
func (s *subject) impatient() string {
	return fmt.Sprintf("nothing advanced for %v (Options.Patience)", s.patience())
}

// await receives from a channel. It returns false if nothing advanced for the duration of the suite's patience.
func await[V any](s *subject, from <-chan V) (v V, ok bool) {
	for {
		seen := s.beats.count.Load()
		timer := time.NewTimer(s.patience())
		select {
		case v = <-from:
			timer.Stop()
			return v, true
		case <-timer.C:
			if s.beats.count.Load() == seen {
				return v, false
			}
		}
	}
}

// within runs a function that must return. A function with many calls advances with each. The function must not call
// t.Fatalf.
func (s *subject) within(t T, what string, fn func()) {
	t.Helper()
	p, ok := await(s, guarded(fn))
	switch {
	case !ok:
		t.Fatalf("%s: not done, %s", what, s.impatient())
	case p != "":
		t.Fatalf("%s: %s", what, p)
	}
	s.beats.advance()
}

// together runs a function in n goroutines, numbered from 0, and waits for all of them. The function must not call
// t.Fatalf.
func (s *subject) together(t T, n int, fn func(i int)) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if p := <-guarded(func() { fn(i) }); p != "" {
				t.Errorf("goroutine %d: %s", i, p)
			}
			s.beats.advance()
		})
	}
	s.within(t, fmt.Sprintf("%d goroutines", n), wg.Wait)
}

// eventually waits until a condition holds.
func (s *subject) eventually(t T, what string, holds func() bool) {
	t.Helper()
	seen, since := s.beats.count.Load(), time.Now()
	for pause := 50 * time.Microsecond; !holds(); pause = min(2*pause, 20*time.Millisecond) {
		if now := s.beats.count.Load(); now != seen {
			seen, since = now, time.Now()
		}
		if time.Since(since) > s.patience() {
			t.Fatalf("%s: not so, %s", what, s.impatient())
		}
		time.Sleep(pause)
	}
	s.beats.advance()
}

// guarded runs a function in a goroutine. The channel delivers the text of its panic, or "".
func guarded(fn func()) <-chan string {
	done := make(chan string, 1)
	go func() {
		text := ""
		defer func() {
			if p := recover(); p != nil {
				text = fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
			}
			done <- text
		}()
		fn()
	}()
	return done
}

// readers counts the reads that run concurrently with a writer. The writer must not finish before them. Otherwise a
// fast store, or a busy machine, would make a clause about both check nothing.
type readers struct {
	s     *subject
	reads atomic.Int64

	// The last number of reads that the writer saw, and when.
	seen  int64
	since time.Time
}

func (s *subject) newReaders() *readers { return &readers{s: s, since: time.Now()} }

// read counts one more read.
func (r *readers) read() {
	r.reads.Add(1)
	r.s.beats.advance()
}

// end records that no read follows.
func (r *readers) end() { r.reads.Store(enoughReads) }

const enoughReads = 30

// enough reports whether there were enough reads, or no more will follow. Only the writer calls it.
func (r *readers) enough() bool {
	reads := r.reads.Load()
	if reads != r.seen {
		r.seen, r.since = reads, time.Now()
	}
	return reads >= enoughReads || time.Since(r.since) > r.s.patience()
}

// sets makes n writes, numbered from 0, that must all return.
func (s *subject) sets(t T, what string, db storage.Database, n int, path func(i int) string) {
	t.Helper()
	s.within(t, what, func() {
		for i := range n {
			if _, err := db.Set(path(i), dataOf(int64(i))); err != nil {
				t.Errorf("Set: %v", err)
				return
			}
			s.beats.advance()
		}
	})
}
