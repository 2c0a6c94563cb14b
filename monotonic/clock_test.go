package monotonic

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

// fake is a source that a test moves by hand.
type fake struct {
	mono  atomic.Int64 // nanoseconds since its start
	skew  atomic.Int64 // the wall clock at its start, in Unix nanoseconds
	looks atomic.Int64 // how often the wall clock was read
}

// epoch is where the fake wall clock starts.
const epoch = int64(1_700_000_000_000_000_000)

func newFake(wall int64) (*fake, *clock) {
	f := &fake{}
	f.skew.Store(wall)
	return f, newClock(source{
		mono: func() time.Duration { return time.Duration(f.mono.Load()) },
		both: func() (time.Duration, int64) {
			f.looks.Add(1)
			mono := f.mono.Load()
			return time.Duration(mono), f.skew.Load() + mono
		},
	})
}

// pass lets time go by on both clocks.
func (f *fake) pass(d time.Duration) { f.mono.Add(int64(d)) }

// adjust sets the wall clock ahead, or back for a negative d.
func (f *fake) adjust(d time.Duration) { f.skew.Add(int64(d)) }

// wall is what the wall clock shows.
func (f *fake) wall() int64 { return f.skew.Load() + f.mono.Load() }

// ahead is how far the clock's next time is ahead of the wall clock.
func (f *fake) ahead(c *clock) time.Duration { return time.Duration(c.now() - f.wall()) }

func TestClockFollowsTheWall(t *testing.T) {
	f, c := newFake(epoch)
	if got := c.now(); got != epoch {
		t.Errorf("first time %d, want the wall clock's %d", got, epoch)
	}
	for _, d := range []time.Duration{1, time.Microsecond, time.Second - 1, time.Second, time.Hour} {
		f.pass(d)
		if ahead := f.ahead(c); ahead != 0 {
			t.Errorf("%v later: %v ahead of the wall clock", d, ahead)
		}
	}
}

func TestClockThatStands(t *testing.T) {
	f, c := newFake(epoch)
	for i := range int64(1000) {
		if got := c.now(); got != epoch+i {
			t.Fatalf("call %d at one tick gave %d, want %d", i, got, epoch+i)
		}
	}
	f.pass(time.Microsecond)
	if ahead := f.ahead(c); ahead != 0 {
		t.Errorf("a tick after a thousand calls in one: %v ahead of the wall clock", ahead)
	}
}

func TestClockLooksOnceASecond(t *testing.T) {
	f, c := newFake(epoch)
	for range 100 {
		c.now()
		f.pass(100 * time.Millisecond)
	}
	// One to start with, and one at each full second of the 9.9 that the calls span.
	if got := f.looks.Load(); got != 10 {
		t.Errorf("read the wall clock %d times, want 10", got)
	}
}

func TestClockJumpsAhead(t *testing.T) {
	f, c := newFake(epoch)
	c.now()
	f.adjust(time.Hour)
	f.pass(resample - 1)
	if ahead := f.ahead(c); ahead != -time.Hour {
		t.Errorf("before the look: %v ahead of the wall clock, want an hour behind", ahead)
	}
	f.pass(1)
	if ahead := f.ahead(c); ahead != 0 {
		t.Errorf("at the look: %v ahead of the wall clock", ahead)
	}
}

func TestClockSetBack(t *testing.T) {
	f, c := newFake(epoch)
	c.now()
	f.adjust(-10 * time.Second)
	f.pass(resample)
	if ahead := f.ahead(c); ahead != 10*time.Second {
		t.Fatalf("at the look: %v ahead of the wall clock, want all of the ten seconds", ahead)
	}
	// Half a second of the lead goes with each second.
	for i := range 20 {
		want := 10*time.Second - time.Duration(i)*time.Second/2
		if ahead := f.ahead(c); ahead != want && ahead != want+1 {
			t.Errorf("%d s after the look: %v ahead of the wall clock, want %v", i, ahead, want)
		}
		f.pass(time.Second)
	}
	for range 3 {
		if ahead := f.ahead(c); ahead != 0 {
			t.Errorf("caught up, but %v ahead of the wall clock", ahead)
		}
		f.pass(time.Second)
	}
}

// TestClockCatchesUpBetweenLooks has the lead end within a second: the clock then runs at
// full speed, not on at half.
func TestClockCatchesUpBetweenLooks(t *testing.T) {
	f, c := newFake(epoch)
	f.adjust(-200 * time.Millisecond)
	f.pass(resample)
	c.now()
	for _, step := range []struct {
		pass, want time.Duration
	}{
		{200 * time.Millisecond, 100 * time.Millisecond},
		{200 * time.Millisecond, 0},
		{200 * time.Millisecond, 0},
	} {
		f.pass(step.pass)
		if ahead := f.ahead(c); ahead != step.want {
			t.Errorf("%v ahead of the wall clock, want %v", ahead, step.want)
		}
	}
}

// TestClockSetBackAndAhead has a second adjustment undo the first one.
func TestClockSetBackAndAhead(t *testing.T) {
	f, c := newFake(epoch)
	f.adjust(-time.Hour)
	f.pass(resample)
	c.now()
	f.adjust(2 * time.Hour)
	f.pass(resample)
	if ahead := f.ahead(c); ahead != 0 {
		t.Errorf("%v ahead of the wall clock after it passed the clock", ahead)
	}
}

// TestClockAfterIdleHours has no call between a step back and much later.
func TestClockAfterIdleHours(t *testing.T) {
	f, c := newFake(epoch)
	last := c.now()
	f.adjust(-time.Minute)
	f.pass(3 * time.Hour)
	if now := c.now(); now <= last {
		t.Errorf("gave %d after %d", now, last)
	}
	f.pass(2 * time.Minute)
	if ahead := f.ahead(c); ahead != 0 {
		t.Errorf("%v ahead of the wall clock two minutes after a look that found a minute", ahead)
	}
}

// TestClockBefore1970 has a machine without a set clock: the times are positive all the same.
func TestClockBefore1970(t *testing.T) {
	f, c := newFake(-int64(time.Hour))
	for i := range int64(3) {
		if got := c.now(); got != i+1 {
			t.Errorf("call %d gave %d, want %d", i, got, i+1)
		}
	}
	f.skew.Store(epoch)
	f.pass(resample)
	if ahead := f.ahead(c); ahead != 0 {
		t.Errorf("%v ahead of the wall clock after it was set", ahead)
	}
}

// TestClockRandom moves both clocks at random and checks what holds always: times rise,
// are never more ahead of the wall clock than it was ever set back, and never run slower
// than half of real time.
func TestClockRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f, c := newFake(epoch)
	last, lastMono := c.now(), f.mono.Load()
	var back time.Duration
	for i := range 20000 {
		switch random.IntN(10) {
		case 0:
			d := time.Duration(random.Int64N(int64(time.Minute)))
			f.adjust(-d)
			back += d
		case 1:
			f.adjust(time.Duration(random.Int64N(int64(time.Minute))))
		}
		f.pass(time.Duration(random.ExpFloat64() * float64(resample) * math.Pow(10, float64(-random.IntN(9)))))
		now, mono := c.now(), f.mono.Load()
		if now <= last {
			t.Fatalf("step %d: %d after %d", i, now, last)
		}
		// Calls that share a tick are some nanoseconds ahead, and the next gives them back.
		if moved := mono - lastMono; now-last < moved/2-int64(time.Microsecond) {
			t.Fatalf("step %d: %v went by and the clock moved %v", i, time.Duration(moved), time.Duration(now-last))
		}
		// A nanosecond for each call may be on top, when calls share a tick.
		if ahead := now - f.wall(); ahead > int64(back)+int64(i)+1 {
			t.Fatalf("step %d: %v ahead of a wall clock that was set back by %v", i, time.Duration(ahead), back)
		}
		last, lastMono = now, mono
	}
}

// TestClockUniqueWhileAdjusted has the looks of many goroutines race with each other and
// with adjustments both ways.
func TestClockUniqueWhileAdjusted(t *testing.T) {
	f, c := newFake(epoch)
	var calls atomic.Int64
	uniqueAndOrdered(t, func() int64 {
		n := calls.Add(1)
		f.pass(resample / 10)
		if n%64 == 0 {
			f.adjust(time.Duration(n%3-1) * time.Minute)
		}
		return c.now()
	})
}
