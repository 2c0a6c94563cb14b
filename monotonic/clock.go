package monotonic

import (
	"sync/atomic"
	"time"
)

// resample is how long a sample of the wall clock is used, measured by the system's monotonic clock.
const resample = time.Second

// source reads the system's clocks.
type source struct {
	// mono is the time since some start. It never goes back and is never adjusted.
	mono func() time.Duration
	// both returns the same together with the wall clock in Unix nanoseconds. It is one call, so a goroutine that is
	// suspended between two calls does not skew them.
	both func() (mono time.Duration, wall int64)
}

// clock issues times. It adds a reading of the monotonic clock, which is cheaper than the wall clock and never jumps,
// to a sample of the wall clock. There is no lock: the compare-and-swap that raises last issues a time.
type clock struct {
	source source
	sample atomic.Pointer[sample]
	last   atomic.Int64 // the greatest time issued
}

// sample relates the two clocks at one moment. It is immutable.
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
		// t is at or before the last time if two goroutines read the same tick, or if the sample was replaced during
		// the read.
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

// at returns the time at a reading of the monotonic clock: the wall clock's, or half speed while that reduces the
// lead.
func (s *sample) at(mono time.Duration) int64 {
	elapsed := int64(mono - s.mono)
	return s.time + elapsed - min(elapsed/2, s.lead)
}

// look replaces the sample old with a new one that continues without a step back. It returns the sample in use, which
// is another goroutine's if that was first, and the reading of the monotonic clock.
func (c *clock) look(old *sample) (*sample, time.Duration) {
	mono, wall := c.source.both()
	t := max(old.at(mono), wall)
	next := &sample{mono: mono, time: t, lead: t - wall}
	if !c.sample.CompareAndSwap(old, next) {
		next = c.sample.Load()
	}
	return next, mono
}
