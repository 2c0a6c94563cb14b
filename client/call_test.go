package client

import (
	"testing"
	"time"
)

// The time between two attempts grows, has a bound, and is not the same for all clients.
func TestBackOff(t *testing.T) {
	for attempt, most := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000} {
		most *= time.Millisecond
		different := map[time.Duration]bool{}
		for range 100 {
			wait := backOff(attempt)
			if wait < most/2 || wait >= most {
				t.Errorf("attempt %d: it waits %v, want %v to %v", attempt, wait, most/2, most)
			}
			different[wait] = true
		}
		if len(different) < 50 {
			t.Errorf("attempt %d: only %d of 100 times differ", attempt, len(different))
		}
	}
	if wait := backOff(1 << 40); wait > 5*time.Second || wait < 0 {
		t.Errorf("after many attempts it waits %v", wait)
	}
}
