package storage

import (
	"math"
	"time"

	"github.com/oolith-db/oolith/internal/histogram"
)

// Stats are metrics of a running store. Each Start resets the counters, except Revision.
type Stats struct {
	// Active reports whether the store is started. Otherwise all other fields are zero.
	Active bool
	// InMemory reports whether there is a memory layer. It holds all objects or, if Cached, recently read ones.
	InMemory bool
	// Cached reports whether memory is a cache (LayerOptions.SkipLoadMemory).
	Cached bool
	// Persistent reports whether there is a persistent layer.
	Persistent bool

	// Objects is the number of objects in memory.
	Objects int
	// Directories is the number of directories in memory: of paths with an object below them, at any depth. It is 0
	// for a cache.
	Directories int
	// DataBytes is the size of the data of the objects in memory, in bytes, without paths and overhead.
	DataBytes int64
	// Expiring is the number of objects that are known to expire, by a time to live or by a rule of
	// Options.Retention. If lists come from the persistent layer, some may not be known yet.
	Expiring int

	// Revision is the revision of the last commit.
	Revision uint64
	// Commits is the number of commits. A commit makes a group of writes durable.
	Commits uint64
	// Changes is the number of committed changes: writes of a key, glob deletes and clears count one each. Changes
	// divided by Commits is the mean group size.
	Changes uint64
	// Commit are the durations of commits, from when a group's turn comes until it is visible. A write may have
	// waited for the groups before it. In a store without a persistent layer one commit in 64 is measured.
	Commit Latencies
	// Persist are the durations of commits in the persistent layer, including the sync, also of failed ones.
	Persist Latencies
	// WritesStopped is the reason why the store rejects all writes, an error that matches ErrWritesStopped; nil while
	// it accepts them.
	WritesStopped error

	// Shared reports whether the persistent layer is shared with other nodes (SharedLayer).
	Shared bool
	// Staleness is how long the store may have missed commits of other nodes. A healthy store checks twice a second.
	Staleness time.Duration
	// Unavailable is the reason why the store does not follow the shared engine; nil while it does.
	Unavailable error

	// CacheHits is the number of reads of single objects that the cache answered.
	CacheHits uint64
	// CacheMisses is the number of such reads that went to the persistent layer, including reads of absent objects.
	CacheMisses uint64
	// CacheEvictions is the number of objects evicted from the cache.
	CacheEvictions uint64
	// CacheBytes is the approximate size of the cache in bytes, including overhead.
	CacheBytes int64
	// CacheLimit is the maximum of CacheBytes: LayerOptions.CacheBytes, or its default.
	CacheLimit int64

	// Locks is the number of held locks, including leases.
	Locks int

	// Watchers is the number of active Watch calls.
	Watchers int
	// Lag is the number of events that the slowest watcher has still to receive.
	Lag int
	// Coalesced is the number of events that were not delivered to watchers because a newer event of the key replaced
	// them, or because the key was created and deleted in the meantime.
	Coalesced uint64
	// Sharded are the metrics of WatchSharded.
	Sharded ShardedStats

	// Subscriptions is the number of open subscriptions.
	Subscriptions int
	// SubscriptionLag is the number of changes that the slowest subscription has still to receive.
	SubscriptionLag int
	// SubscriptionsCoalesced is the number of changes that LagNewest dropped.
	SubscriptionsCoalesced uint64
	// SubscriptionResets is the number of resets (NoticeReset) of subscriptions.
	SubscriptionResets uint64
}

// LatencyBuckets is the number of buckets of Latencies.
const LatencyBuckets = histogram.Buckets

// Latencies is a histogram of durations with buckets in powers of two.
type Latencies struct {
	// Count is the number of measured durations: the sum of Buckets.
	Count uint64
	// Sum is the sum of the durations.
	Sum time.Duration
	// Buckets count the durations up to LatencyBound of the bucket and above that of the previous bucket.
	Buckets [LatencyBuckets]uint64
}

// LatencyBound returns the upper bound of a bucket: 256ns for bucket 0, doubling with each bucket, 34s for the last
// but one. The last bucket has no bound: LatencyBound returns false.
func LatencyBound(bucket int) (time.Duration, bool) { return histogram.Bound(bucket) }

// Quantile returns a duration that the given share of the measurements, from 0 to 1, did not exceed. It is the bound
// of a bucket, so it can be up to twice the exact value. It is 0 without measurements, and the greatest duration if
// only the last bucket holds enough of them.
func (l Latencies) Quantile(share float64) time.Duration {
	if l.Count == 0 {
		return 0
	}
	wanted := max(1, uint64(math.Ceil(share*float64(l.Count))))
	seen := uint64(0)
	for bucket, n := range l.Buckets {
		if seen += n; seen < wanted {
			continue
		}
		if bound, ok := LatencyBound(bucket); ok {
			return bound
		}
		break
	}
	return math.MaxInt64
}

// Stats returns the current metrics, or the zero value for a store that is not active. Each value is exact by itself.
// A write in progress may be included in some and not yet in others. Stats looks at every watcher and subscription.
func (l *Layered) Stats() Stats {
	r := l.run.Load()
	if r == nil {
		return Stats{}
	}
	stats := Stats{
		Active: true, Persistent: r.layer != nil,
		Expiring:      r.expirer.len(),
		Revision:      r.pipeline.revision.Load(),
		Commits:       r.timing.groups.Load(),
		Commit:        Latencies(r.timing.commits.Counts()),
		Persist:       Latencies(r.timing.persists.Counts()),
		WritesStopped: r.pipeline.cause(),
		Locks:         r.locks.len(),
	}
	stats.Changes = stats.Revision - r.pipeline.first
	r.view.stats(&stats)
	if m := r.mirror; m != nil {
		stats.Changes = m.changes.Load()
		stats.Shared, stats.Staleness, stats.Unavailable = true, m.age(), m.lostBy()
	}
	r.feed.stats(&stats)
	if sharded := r.sharded.Load(); sharded != nil {
		stats.Sharded = sharded.Stats()
	}
	return stats
}

// len returns the number of objects that are known to expire.
func (e *expirer) len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.due)
}

// len returns the number of held locks.
func (t *lockTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.held)
}
