package monotonic

import (
	"testing"
	"time"
)

// A clock of its own keeps the promises of Now, also behind Stop.
func TestNew(t *testing.T) {
	c := New()
	begin := time.Now().Add(-time.Minute).UnixNano()
	var last int64
	for i := range 1000 {
		if i == 500 {
			c.Stop()
			c.Stop()
			Stop()
			Stop()
		}
		now := c.Now()
		if now <= last || now < begin {
			t.Fatalf("the time %d is %d, behind %d", i, now, last)
		}
		last = now
	}
	if end := time.Now().Add(time.Minute).UnixNano(); last > end {
		t.Errorf("the clock is at %d, want at most %d", last, end)
	}
	if a, b := Now(), new(Clock).Now(); b <= a {
		t.Errorf("the zero clock is at %d, behind %d of the process", b, a)
	}
	if a, b := Now(), Now(); b <= a {
		t.Errorf("behind Stop the times are %d and %d", a, b)
	}
}
