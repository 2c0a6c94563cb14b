// Package tally counts concurrent events without contention for a single word of memory.
package tally

import (
	"math/rand/v2"
	"sync/atomic"
)

// stripes is the number of words that share the count. With it, a few dozen processors rarely contend.
const stripes = 16

// Counter is a number that only grows. The zero value is zero. All methods may be called concurrently.
type Counter struct {
	parts [stripes]part
}

// part is a word alone in its cache line, and in the adjacent line that processors prefetch.
type part struct {
	n atomic.Uint64
	_ [120]byte
}

// Inc adds one.
func (c *Counter) Inc() {
	// A random word; each processor has its own generator state.
	c.parts[rand.Uint32()%stripes].n.Add(1)
}

// Value returns the number. It may or may not include concurrent additions.
func (c *Counter) Value() (sum uint64) {
	for i := range c.parts {
		sum += c.parts[i].n.Load()
	}
	return sum
}
