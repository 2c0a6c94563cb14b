package storagetest

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// How the suite waits. A machine may be slow and a disk slower: no wait has an end by the clock. A clause
// fails when nothing advances for as long as Options.Patience says: no write returned, no event came.

// defaultPatience is longer than a busy disk takes for one sync.
const defaultPatience = 30 * time.Second

// beats counts what advances in a run of the suite.
type beats struct{ count atomic.Uint64 }

// advance says that something went on: a call returned, an event came.
func (b *beats) advance() { b.count.Add(1) }

func (s *subject) patience() time.Duration {
	if s.Patience > 0 {
		return s.Patience
	}
	return defaultPatience
}

// impatient is the end of a message about what did not happen.
func (s *subject) impatient() string {
	return fmt.Sprintf("nothing advanced for %v (Options.Patience)", s.patience())
}

// await receives from a channel. It reports false when nothing advanced for as long as the suite is patient.
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

// within runs a function that must come to its end. One that makes many calls advances with each. The function
// must not call t.Fatalf.
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

// together runs a function in n goroutines, numbered from 0, and waits for all. The
// function must not call t.Fatalf.
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

// guarded runs a function in a goroutine. The channel gives the text of its panic, or an
// empty one.
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

// readers counts the reads beside a writer, who must not be done before them: else a fast
// store, or a busy machine, would make a clause on both check nothing.
type readers struct {
	s     *subject
	reads atomic.Int64

	// What the writer saw last, and when.
	seen  int64
	since time.Time
}

func (s *subject) newReaders() *readers { return &readers{s: s, since: time.Now()} }

// read counts one more read.
func (r *readers) read() {
	r.reads.Add(1)
	r.s.beats.advance()
}

// end says that no read will follow.
func (r *readers) end() { r.reads.Store(enoughReads) }

const enoughReads = 30

// enough reports whether there were enough reads, or no more come. The writer asks, alone.
func (r *readers) enough() bool {
	reads := r.reads.Load()
	if reads != r.seen {
		r.seen, r.since = reads, time.Now()
	}
	return reads >= enoughReads || time.Since(r.since) > r.s.patience()
}

// sets makes n writes, numbered from 0, that must all come to their end.
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
