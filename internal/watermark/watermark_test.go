package watermark

import (
	"sync"
	"testing"
)

func TestRaise(t *testing.T) {
	var w Watermark
	at, moved := w.Moved()
	if at != 0 {
		t.Errorf("the zero value is at %d", at)
	}
	isMoved := func() bool {
		select {
		case <-moved:
			return true
		default:
			return false
		}
	}
	if w.Raise(0); isMoved() {
		t.Error("it moved to where it was")
	}
	if w.Raise(5); !isMoved() || w.At() != 5 {
		t.Errorf("raised to 5 it is at %d, moved: %v", w.At(), isMoved())
	}
	at, moved = w.Moved()
	if w.Raise(3); isMoved() || w.At() != 5 || at != 5 {
		t.Errorf("raised to less it is at %d, moved: %v", w.At(), isMoved())
	}
}

// Whoever waits for a place is woken when it is reached, however many raise it.
func TestWaiters(t *testing.T) {
	const waiters, most = 8, 1000
	var w Watermark
	var all sync.WaitGroup
	for range waiters {
		all.Go(func() {
			for {
				at, moved := w.Moved()
				if at >= most {
					return
				}
				<-moved
			}
		})
	}
	for i := range 4 {
		all.Go(func() {
			for to := i; to <= most; to += 4 {
				w.Raise(uint64(to))
			}
		})
	}
	all.Wait()
}
