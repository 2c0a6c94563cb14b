package monotonic

import (
	"sync"
	"testing"
	"time"
)

// TestNowFollowsTheWall bounds a clock that nobody adjusts from both sides.
func TestNowFollowsTheWall(t *testing.T) {
	const slack = int64(time.Minute) // for a machine that adjusts its clock during the test
	before := time.Now().UnixNano()
	now := Now()
	after := time.Now().UnixNano()
	if now < before-slack || now > after+slack {
		t.Errorf("Now() = %d, want about %d to %d", now, before, after)
	}
}

func TestInit(t *testing.T) {
	before := Now()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			Init()
			Init()
		})
	}
	group.Wait()
	if now := Now(); now <= before {
		t.Errorf("after Init, Now() = %d, not after %d", now, before)
	}
}

func TestNowIsUniqueAndOrdered(t *testing.T) { uniqueAndOrdered(t, Now) }

// uniqueAndOrdered calls now from many goroutines: each sees its own times rise, and no
// time is given out twice.
func uniqueAndOrdered(t *testing.T, now func() int64) {
	t.Helper()
	const goroutines, calls = 32, 2000
	times := make([][]int64, goroutines)
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			own := make([]int64, calls)
			for i := range own {
				own[i] = now()
			}
			times[g] = own
		})
	}
	group.Wait()
	seen := make(map[int64]bool, goroutines*calls)
	for g, own := range times {
		for i, at := range own {
			if i > 0 && at <= own[i-1] {
				t.Fatalf("goroutine %d: call %d gave %d after %d", g, i, at, own[i-1])
			}
			if seen[at] {
				t.Fatalf("goroutine %d: call %d gave %d, which was given out before", g, i, at)
			}
			seen[at] = true
		}
	}
}

func BenchmarkNow(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Now()
	}
}

func BenchmarkNowParallel(b *testing.B) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			Now()
		}
	})
}

// BenchmarkTimeNow is what Now is compared with.
func BenchmarkTimeNow(b *testing.B) {
	b.ReportAllocs()
	var last int64
	for b.Loop() {
		last = time.Now().UnixNano()
	}
	_ = last
}
