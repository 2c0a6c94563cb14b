package histogram

import (
	"math"
	"sync"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	for _, test := range []struct {
		name string
		d    time.Duration
		want int
	}{
		{"a clock that went back", -time.Second, 0},
		{"nothing", 0, 0},
		{"one nanosecond", 1, 0},
		{"the first bound", 256, 0},
		{"above the first bound", 257, 1},
		{"the second bound", 512, 1},
		{"a millisecond", time.Millisecond, 12}, // 2^20 ns = 1.05 ms
		{"the last bound", 1 << 35, Buckets - 2},
		{"above the last bound", 1<<35 + 1, Buckets - 1},
		{"a very long time", math.MaxInt64, Buckets - 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var h Histogram
			h.Observe(test.d)
			got := h.Counts()
			if got.Buckets[test.want] != 1 || got.Count != 1 || got.Sum != max(test.d, 0) {
				t.Errorf("%v is counted as %+v, want bucket %d", test.d, got, test.want)
			}
		})
	}
}

// TestBoundsAgreeWithBuckets holds each bound, and its neighbours, against where it is counted.
func TestBoundsAgreeWithBuckets(t *testing.T) {
	for bucket := range Buckets - 1 {
		bound, ok := Bound(bucket)
		if !ok {
			t.Fatalf("bucket %d has no bound", bucket)
		}
		if at, behind := bucketOf(bound), bucketOf(bound+1); at != bucket || behind != bucket+1 {
			t.Errorf("%v falls into bucket %d and a nanosecond more into %d, want %d and %d", bound, at, behind, bucket, bucket+1)
		}
	}
	if bound, ok := Bound(Buckets - 1); ok {
		t.Errorf("the last bucket has the bound %v, want none", bound)
	}
}

func TestNothingIsLost(t *testing.T) {
	var h Histogram
	var observing sync.WaitGroup
	const goroutines, each = 8, 1000
	for range goroutines {
		observing.Go(func() {
			for i := range each {
				h.Observe(time.Duration(i) * time.Microsecond)
			}
		})
	}
	observing.Wait()
	got := h.Counts()
	if want := goroutines * time.Microsecond * each * (each - 1) / 2; got.Count != goroutines*each || got.Sum != want {
		t.Errorf("%d durations of %v, want %d of %v", got.Count, got.Sum, goroutines*each, want)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(900)
	}
}
