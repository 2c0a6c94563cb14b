package tally

import (
	"sync"
	"testing"
)

func TestCounter(t *testing.T) {
	var c Counter
	const goroutines, each = 8, 10_000
	var counting sync.WaitGroup
	for range goroutines {
		counting.Go(func() {
			for range each {
				c.Inc()
			}
		})
	}
	last := uint64(0)
	for range 100 {
		now := c.Value()
		if now < last {
			t.Fatalf("%d after %d", now, last)
		}
		last = now
	}
	counting.Wait()
	if got := c.Value(); got != goroutines*each {
		t.Errorf("%d, want %d", got, goroutines*each)
	}
	for i := range c.parts {
		if n := c.parts[i].n.Load(); n == 0 {
			t.Errorf("word %d was never used", i)
		}
	}
}

func BenchmarkInc(b *testing.B) {
	var c Counter
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Inc()
		}
	})
}
