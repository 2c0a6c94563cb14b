// Package monotonic is the clock of the store: Unix nanoseconds that never repeat and never go back.
package monotonic

import "time"

// process is the clock of the process.
var process = New().clock

// Clock issues times as Now does, unique among its own times only. New creates one. All methods may be called
// concurrently. The zero value is the clock of the process.
type Clock struct{ clock *clock }

// New returns a separate clock. It uses no goroutine, so it needs no Stop.
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

// Now is Now of this clock.
func (c *Clock) Now() int64 {
	if c.clock == nil {
		return Now()
	}
	return c.clock.now()
}

// Stop does nothing, and Now continues to work. It may be called several times.
func (c *Clock) Stop() {}

// Stop does nothing, like Init.
func Stop() {}

// Init does nothing: Now works without it. It may be called several times and concurrently.
func Init() {}

// Now returns the time in Unix nanoseconds: positive, strictly increasing and unique in the process, from any number
// of goroutines. A call that returned before another began has the smaller time. There is no guarantee across a
// restart of the process.
//
// Now follows the wall clock, which it samples once a second. If the wall clock jumps ahead, Now does the same at the
// next sample. If the wall clock is set back, Now continues at half speed until the wall clock has caught up. This
// takes twice the time by which it was set back; until then Now is ahead of the wall clock.
func Now() int64 { return process.now() }

// Raise makes every later Now greater than a time in Unix nanoseconds that another clock issued. While that time is
// ahead of the wall clock, Now counts up from it in single nanoseconds.
func Raise(t int64) { process.raise(t) }
