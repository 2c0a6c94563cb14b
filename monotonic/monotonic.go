// Package monotonic is the clock of the store: Unix nanoseconds that never repeat and
// never go back.
package monotonic

import "time"

// process is the one clock of the process.
var process = New().clock

// Clock gives out times as Now does, but unique among its own only. New makes them. All methods may be called from any
// number of goroutines. The zero value is the clock of the process.
type Clock struct{ clock *clock }

// New returns a clock of its own. It needs no goroutine, and so no Stop.
func New() *Clock {
	start := time.Now()
	return &Clock{newClock(source{
		mono: func() time.Duration { return time.Since(start) },
		both: func() (time.Duration, int64) {
			t := time.Now()
			return t.Sub(start), t.UnixNano()
		},
	})}
}

// Now is the Now of this clock.
func (c *Clock) Now() int64 {
	if c.clock == nil {
		return Now()
	}
	return c.clock.now()
}

// Stop has nothing to stop, and stops nothing: Now goes on. It may be called any number of times.
func (c *Clock) Stop() {}

// Stop is that of the clock of the process: like Init, it has nothing to do.
func Stop() {}

// Init has nothing to set up: Now works without it. It may be called any number of times,
// from any goroutine.
func Init() {}

// Now returns the time in Unix nanoseconds: positive, strictly increasing and unique in
// the process, from any number of goroutines. A call that returned before another began
// has the smaller time. Nothing is promised across a restart of the process.
//
// It follows the wall clock, which it looks at once a second. When the wall clock jumps
// ahead, Now does the same at that look. When the wall clock is set back, Now goes on at
// half speed until the wall clock has caught up, which takes twice the time that it was
// set back by; until then it is ahead of the wall clock.
func Now() int64 { return process.now() }

// Raise makes every later Now greater than a time, in Unix nanoseconds: one that another clock gave out, and that is to come
// before. While that is ahead of the wall clock, Now counts up from it by single nanoseconds.
func Raise(t int64) { process.raise(t) }
