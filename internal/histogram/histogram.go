// Package histogram counts durations in buckets of powers of two. It is cheap enough for every commit of a store.
//
// Each bucket is as wide as all below it together. So a quantile is known to a factor of two, from a quarter of a
// microsecond to half a minute, in a few words of memory and without a lock.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// lowest is the bound of the first bucket, as a power of two: 256 nanoseconds.
	lowest = 8
	// highest is the bound of the last bucket that has one: 34 seconds.
	highest = 35
	// Buckets is the number of buckets. The last one has no bound.
	Buckets = highest - lowest + 2
)

// Bound returns the greatest duration that a bucket counts, or false for the last one, which counts all greater
// durations.
func Bound(bucket int) (time.Duration, bool) {
	if bucket >= Buckets-1 {
		return 0, false
	}
	return 1 << (lowest + max(bucket, 0)), true
}

// Histogram counts durations. The zero value is empty and ready to use. All methods may be called concurrently.
type Histogram struct {
	buckets [Buckets]atomic.Uint64
	sum     atomic.Uint64 // nanoseconds
}

// Observe counts a duration. It counts a negative one, from a clock that was set back, as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucketOf(d)].Add(1)
	h.sum.Add(uint64(d))
}

// bucketOf returns the first bucket whose bound is at least d, which is not negative.
func bucketOf(d time.Duration) int {
	power := bits.Len64(uint64(max(d, 1) - 1)) // the least power of two that is at least d
	return max(lowest, min(power, highest+1)) - lowest
}

// Counts is the content of a histogram at one instant.
type Counts struct {
	// Count is how many durations were counted.
	Count uint64
	// Sum is the sum of these durations. A duration that is being counted may be in only one of Sum and Count.
	Sum time.Duration
	// Buckets is the number of durations in each bucket.
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
