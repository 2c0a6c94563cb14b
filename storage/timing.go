package storage

import (
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/internal/histogram"
)

// Measurements of the store's own work, cheap enough not to slow a write.

// timedCommits is how many commits of a store without a persistent layer share one measurement. Reading the clock
// twice would be a large part of such a commit.
const timedCommits = 64

// timing holds the measurements of commits. All fields may be used concurrently.
type timing struct {
	born     time.Time
	groups   atomic.Uint64 // committed so far
	commits  histogram.Histogram
	persists histogram.Histogram
}

// untimed is what stopwatch returns if it does not measure.
const untimed = time.Duration(-1)

// clock is the time since the store started. It is cheaper than the wall clock.
func (r *run) clock() time.Duration { return time.Since(r.timing.born) }

// stopwatch starts the measurement of a group, or returns untimed.
func (r *run) stopwatch() time.Duration {
	if r.layer == nil && r.timing.groups.Load()%timedCommits != 0 {
		return untimed
	}
	return r.clock()
}

// committedSince records a group that is committed and visible.
func (r *run) committedSince(began time.Duration) {
	r.timing.groups.Add(1)
	if began != untimed {
		r.timing.commits.Observe(r.clock() - began)
	}
}

// persistedSince records a call of the persistent layer, if there is one.
func (r *run) persistedSince(began time.Duration) {
	if r.layer != nil {
		r.timing.persists.Observe(r.clock() - began)
	}
}

// persistTimed is persist with a measurement until the group is durable.
func (r *run) persistTimed(leaves []*write) (_ func() error, refused *write, err error) {
	if r.layer == nil {
		return r.persist(leaves)
	}
	began := r.clock()
	durable, refused, err := r.persist(leaves)
	if durable == nil {
		r.persistedSince(began)
		return nil, refused, err
	}
	return func() error {
		defer r.persistedSince(began)
		return durable()
	}, refused, err
}
