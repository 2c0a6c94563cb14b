package monotonic

import (
	"sync/atomic"
	"time"
)

// resample is how long, in time of the system's monotonic clock, a sample of the wall
// clock is used.
const resample = time.Second

// source is where a clock reads the time.
type source struct {
	// mono is the time since some start: it never goes back and is never adjusted.
	mono func() time.Duration
	// both is the same together with the wall clock of that moment in Unix nanoseconds.
	// One call, so that a goroutine put aside between two does not skew them.
	both func() (mono time.Duration, wall int64)
}

// clock gives out times. It reads the monotonic clock for each, which is cheaper than
// reading the wall clock and has no jumps, and adds it to a sample of the wall clock.
// There is no lock: a time is given out by the compare-and-swap that raises last to it.
type clock struct {
	source source
	sample atomic.Pointer[sample]
	last   atomic.Int64 // the greatest time given out
}

// sample relates the two clocks at one moment. It is never changed.
type sample struct {
	mono time.Duration
	time int64 // at mono, in Unix nanoseconds
	lead int64 // how far time is ahead of the wall clock, in nanoseconds; never negative
}

func newClock(source source) *clock {
	c := &clock{source: source}
	mono, wall := source.both()
	c.sample.Store(&sample{mono: mono, time: wall})
	return c
}

func (c *clock) now() int64 {
	mono := c.source.mono()
	s := c.sample.Load()
	if mono-s.mono >= resample {
		s, mono = c.look(s)
	}
	t := s.at(mono)
	for {
		last := c.last.Load()
		// At or behind the last time when two goroutines read the same tick, or when
		// the sample was replaced while this one read.
		next := max(t, last+1)
		if c.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// raise makes every later time greater than t.
func (c *clock) raise(t int64) {
	for {
		last := c.last.Load()
		if last >= t || c.last.CompareAndSwap(last, t) {
			return
		}
	}
}

// at returns the time at a reading of the monotonic clock: the wall clock's, or half as
// fast while that clears the lead.
func (s *sample) at(mono time.Duration) int64 {
	elapsed := int64(mono - s.mono)
	return s.time + elapsed - min(elapsed/2, s.lead)
}

// look replaces the sample old by a new one, which continues from it without a step back.
// It returns the sample in use, which is another goroutine's when that was first, and the
// moment of the look.
func (c *clock) look(old *sample) (*sample, time.Duration) {
	mono, wall := c.source.both()
	t := max(old.at(mono), wall)
	next := &sample{mono: mono, time: t, lead: t - wall}
	if !c.sample.CompareAndSwap(old, next) {
		next = c.sample.Load()
	}
	return next, mono
}
