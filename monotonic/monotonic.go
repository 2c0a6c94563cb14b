// Package monotonic is the clock of the store: Unix nanoseconds that never repeat and
// never go back.
package monotonic

import "time"

// process is the one clock of the process.
var process = func() *clock {
	start := time.Now()
	return newClock(source{
		mono: func() time.Duration { return time.Since(start) },
		both: func() (time.Duration, int64) {
			t := time.Now()
			return t.Sub(start), t.UnixNano()
		},
	})
}()

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
