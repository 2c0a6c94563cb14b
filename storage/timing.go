package storage

import (
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/internal/histogram"
)

// What the store measures of itself while it works, so little that no write notices.

// timedCommits is how many commits of a store without a persistent layer share one measurement: there two
// readings of the clock would be a good part of a commit.
const timedCommits = 64

// timing is what is measured of commits. All of it may be used by any goroutine.
type timing struct {
	born     time.Time
	groups   atomic.Uint64 // that were committed
	commits  histogram.Histogram
	persists histogram.Histogram
}

// untimed is what stopwatch returns where no time is taken.
const untimed = time.Duration(-1)

// clock is the time since the store started. It is cheaper than the time of the day.
func (r *run) clock() time.Duration { return time.Since(r.timing.born) }

// stopwatch begins to take the time of a group, or returns untimed.
func (r *run) stopwatch() time.Duration {
	if r.layer == nil && r.timing.groups.Load()%timedCommits != 0 {
		return untimed
	}
	return r.clock()
}

// committedSince notes a group that is committed, and visible.
func (r *run) committedSince(began time.Duration) {
	r.timing.groups.Add(1)
	if began != untimed {
		r.timing.commits.Observe(r.clock() - began)
	}
}

// persistedSince notes a call of the persistent layer, if there is one.
func (r *run) persistedSince(began time.Duration) {
	if r.layer != nil {
		r.timing.persists.Observe(r.clock() - began)
	}
}

// persistTimed is persist whose time is taken, until the group is durable.
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
