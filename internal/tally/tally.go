// Package tally counts what many goroutines do at once, without their meeting in one word of memory.
package tally

import (
	"math/rand/v2"
	"sync/atomic"
)

// stripes is how many words share the counting: enough that a few dozen processors seldom meet.
const stripes = 16

// Counter is a number that only grows. The zero value is zero. All methods may be called from any number of
// goroutines.
type Counter struct {
	parts [stripes]part
}

// part is a word alone in its cache line, and in the one that processors fetch with it.
type part struct {
	n atomic.Uint64
	_ [120]byte
}

// Inc adds one.
func (c *Counter) Inc() {
	// Which word is left to chance, whose state each processor has its own of.
	c.parts[rand.Uint32()%stripes].n.Add(1)
}

// Value returns the number. What is added meanwhile may or may not be in it.
func (c *Counter) Value() (sum uint64) {
	for i := range c.parts {
		sum += c.parts[i].n.Load()
	}
	return sum
}
