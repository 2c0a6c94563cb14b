// Package histogram counts durations in buckets of powers of two: what a store can afford to do
// for every commit.
//
// Each bucket is as wide as all below it, so that a quantile is known to a factor of two
// from a quarter of a microsecond to half a minute, in a few words of memory and without a lock.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// lowest is the bound of the first bucket, as a power of two: 256 nanoseconds.
	lowest = 8
	// highest is that of the last bucket that has one: 34 seconds.
	highest = 35
	// Buckets is how many buckets there are. The last one has no bound.
	Buckets = highest - lowest + 2
)

// Bound returns the greatest duration that a bucket counts, or false for the last one, which
// counts all that is greater than the others do.
func Bound(bucket int) (time.Duration, bool) {
	if bucket >= Buckets-1 {
		return 0, false
	}
	return 1 << (lowest + max(bucket, 0)), true
}

// Histogram counts durations. The zero value is empty and ready. All methods may be called from
// any number of goroutines.
type Histogram struct {
	buckets [Buckets]atomic.Uint64
	sum     atomic.Uint64 // nanoseconds
}

// Observe counts a duration; a negative one, of a clock that went back, as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucketOf(d)].Add(1)
	h.sum.Add(uint64(d))
}

// bucketOf returns the first bucket whose bound is at least d, which is not negative.
func bucketOf(d time.Duration) int {
	power := bits.Len64(uint64(max(d, 1) - 1)) // the least power of two that is not below d
	return max(lowest, min(power, highest+1)) - lowest
}

// Counts are the content of a histogram at some instant.
type Counts struct {
	// Count is how many durations were counted.
	Count uint64
	// Sum is what they add up to. A duration that is being counted may be in only one of Sum and Count.
	Sum time.Duration
	// Buckets are how many of them fell into each bucket.
	Buckets [Buckets]uint64
}

// Counts returns the present content. Count is exactly the sum of Buckets.
func (h *Histogram) Counts() Counts {
	var c Counts
	for i := range h.buckets {
		c.Buckets[i] = h.buckets[i].Load()
		c.Count += c.Buckets[i]
	}
	c.Sum = time.Duration(h.sum.Load())
	return c
}
