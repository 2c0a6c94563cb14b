package storage

import (
	"math"
	"time"

	"github.com/oolith-db/oolith/internal/histogram"
)

// Stats are figures of a running store. Counters begin at zero with each Start, but for Revision.
type Stats struct {
	// Active says that the store is started. All else is zero while it is not.
	Active bool
	// InMemory says that there is a memory layer: it has all objects, or, if Cached, those that were read lately.
	InMemory bool
	// Cached says that memory is a cache (LayerOptions.SkipLoadMemory).
	Cached bool
	// Persistent says that there is a persistent layer.
	Persistent bool

	// Objects is the number of objects in memory.
	Objects int
	// Directories is the number of directories in memory: of paths that have an object below them, at any depth. A
	// cache has none.
	Directories int
	// DataBytes is the length of the data of the objects in memory, in bytes: without their paths and
	// what is kept around them.
	DataBytes int64
	// Expiring is the number of objects that are known to have an end: by a time to live, or by a
	// rule of Options.Retention. Where lists come from the persistent layer some may not be known yet.
	Expiring int

	// Revision is the revision of the last commit.
	Revision uint64
	// Commits is the number of commits: groups of writes that were made durable at once.
	Commits uint64
	// Changes is the number of changes in them: writes of a key, and glob deletes and clears, each of which is one.
	// Changes divided by Commits is the mean size of a group.
	Changes uint64
	// Commit are the times of commits, from the moment in which a group's turn comes until it is
	// visible; a write may have waited for the groups before it, and for no longer than they took. In a store
	// without a persistent layer each eighth commit is measured.
	Commit Latencies
	// Persist are the times that the persistent layer took for a commit, its sync included, also if it failed.
	Persist Latencies
	// WritesStopped is why the store takes no writes any more, an error that is ErrWritesStopped; nil while
	// it does.
	WritesStopped error

	// Shared says that the persistent layer is shared with other nodes (SharedLayer).
	Shared bool
	// Staleness is for how long the store may have missed what other nodes committed. A healthy one asks twice a second.
	Staleness time.Duration
	// Unavailable is why the store does not follow the shared engine, while it does not; nil else.
	Unavailable error

	// CacheHits is the number of reads of single objects that memory answered, in the cache mode.
	CacheHits uint64
	// CacheMisses is the number of those that went to the persistent layer, for absent objects too.
	CacheMisses uint64
	// CacheEvictions is the number of objects that had to make room in the cache.
	CacheEvictions uint64
	// CacheBytes is roughly how many bytes the cache takes, with what is kept around its objects.
	CacheBytes int64
	// CacheLimit is how many it may take: LayerOptions.CacheBytes, or its default.
	CacheLimit int64

	// Locks is the number of locks that are held, leases included.
	Locks int

	// Watchers is the number of Watch calls that are not stopped.
	Watchers int
	// Lag is how many events the slowest of them has yet to deliver.
	Lag int
	// Coalesced is how many events no watcher was given because a newer one of their
	// key took their place, or because the key was created and removed again.
	Coalesced uint64
	// Sharded are the figures of WatchSharded.
	Sharded ShardedStats

	// Subscriptions is the number of subscriptions that are not closed.
	Subscriptions int
	// SubscriptionLag is how many changes the slowest of them has yet to tell.
	SubscriptionLag int
	// SubscriptionsCoalesced is how many changes were not told, by LagNewest.
	SubscriptionsCoalesced uint64
	// SubscriptionResets is how often a subscription began anew with NoticeReset.
	SubscriptionResets uint64
}

// LatencyBuckets is how many buckets Latencies have.
const LatencyBuckets = histogram.Buckets

// Latencies are how long something took, each time, in buckets of powers of two.
type Latencies struct {
	// Count is how many times were measured: the sum of Buckets.
	Count uint64
	// Sum is what they add up to.
	Sum time.Duration
	// Buckets are how many times were at most LatencyBound of the bucket, and more than that of the bucket before.
	Buckets [LatencyBuckets]uint64
}

// LatencyBound returns the greatest duration that is counted in a bucket: 256ns in bucket 0, twice as much
// in each that follows, 34s in the last but one. The last bucket has no bound: false.
func LatencyBound(bucket int) (time.Duration, bool) { return histogram.Bound(bucket) }

// Quantile returns a duration that a share of the times, from 0 to 1, did not exceed: the bound of a
// bucket, and so up to twice the exact one. It is 0 for no times, and the greatest duration there is where
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

// Stats returns the present figures; zero for a store that is not active. Each is exact by itself; a write that
// goes on meanwhile may be in some and not yet in others. It costs a look at every watcher and subscription.
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

// len is how many objects are known to expire.
func (e *expirer) len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.due)
}

// len is how many locks are held.
func (t *lockTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.held)
}
