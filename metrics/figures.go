package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oolith-db/oolith/storage"
)

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

func always(*storage.Stats) bool        { return true }
func inMemory(s *storage.Stats) bool    { return s.InMemory }
func inCacheMode(s *storage.Stats) bool { return s.Cached }
func isShared(s *storage.Stats) bool    { return s.Shared }
func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// figures are all metrics except the histograms.
var figures = []struct {
	name, help string
	kind       prometheus.ValueType
	there      func(*storage.Stats) bool
	value      func(*storage.Stats) float64
}{
	{"active", "Whether the store is started.", gauge, always,
		func(s *storage.Stats) float64 { return truth(s.Active) }},

	{"objects", "Objects in memory: all of them, or in the cache mode those that were read lately.", gauge, inMemory,
		func(s *storage.Stats) float64 { return float64(s.Objects) }},
	{"directories", "Directories in memory: paths that have an object below them, at any depth; none in the cache mode.", gauge, inMemory,
		func(s *storage.Stats) float64 { return float64(s.Directories) }},
	{"data_bytes", "Bytes of data of the objects in memory, without their paths and what is kept around them.", gauge, inMemory,
		func(s *storage.Stats) float64 { return float64(s.DataBytes) }},
	{"expiring_objects", "Objects that are known to have an end: by a time to live or a rule of retention.", gauge, nil,
		func(s *storage.Stats) float64 { return float64(s.Expiring) }},

	{"revision", "Revision of the last commit. It goes on where it was after a restart.", gauge, nil,
		func(s *storage.Stats) float64 { return float64(s.Revision) }},
	{"commits_total", "Commits: groups of writes that were made durable at once.", counter, nil,
		func(s *storage.Stats) float64 { return float64(s.Commits) }},
	{"changes_total", "Changes that were committed. Divided by the commits it is the mean size of a group.", counter, nil,
		func(s *storage.Stats) float64 { return float64(s.Changes) }},
	{"writes_stopped", "Whether the store takes no more writes, after a failed commit, until it is started again.", gauge, nil,
		func(s *storage.Stats) float64 { return truth(s.WritesStopped != nil) }},

	{"staleness_seconds", "For how long the store may have missed what other nodes committed, over a shared engine.", gauge, isShared,
		func(s *storage.Stats) float64 { return s.Staleness.Seconds() }},
	{"unavailable", "Whether the shared engine cannot be reached: writes fail then, and reads go on.", gauge, isShared,
		func(s *storage.Stats) float64 { return truth(s.Unavailable != nil) }},

	{"cache_hits_total", "Reads of single objects that memory answered, in the cache mode.", counter, inCacheMode,
		func(s *storage.Stats) float64 { return float64(s.CacheHits) }},
	{"cache_misses_total", "Reads of single objects that went to the persistent layer, in the cache mode.", counter, inCacheMode,
		func(s *storage.Stats) float64 { return float64(s.CacheMisses) }},
	{"cache_evictions_total", "Objects that had to make room in the cache.", counter, inCacheMode,
		func(s *storage.Stats) float64 { return float64(s.CacheEvictions) }},
	{"cache_bytes", "Roughly how many bytes the cache takes.", gauge, inCacheMode,
		func(s *storage.Stats) float64 { return float64(s.CacheBytes) }},
	{"cache_limit_bytes", "How many bytes the cache may take.", gauge, inCacheMode,
		func(s *storage.Stats) float64 { return float64(s.CacheLimit) }},

	{"locks", "Locks that are held, leases included.", gauge, nil,
		func(s *storage.Stats) float64 { return float64(s.Locks) }},

	{"watchers", "Watches that are not stopped.", gauge, nil,
		func(s *storage.Stats) float64 { return float64(s.Watchers) }},
	{"watcher_lag_events", "Events that the slowest watch has yet to deliver.", gauge, nil,
		func(s *storage.Stats) float64 { return float64(s.Lag) }},
	{"watcher_coalesced_events_total", "Events that a watch left out, because a newer one of their key took their place.", counter, nil,
		func(s *storage.Stats) float64 { return float64(s.Coalesced) }},

	{"channel_queued_events", "Events that wait beyond the buffers of the event channels.", gauge, nil,
		func(s *storage.Stats) float64 { return float64(s.Sharded.Queued) }},
	{"channel_coalesced_events_total", "Events that the channels left out, because a newer one of their key waited.", counter, nil,
		func(s *storage.Stats) float64 { return float64(s.Sharded.Coalesced) }},
	{"channel_dropped_events_total", "Events that the channels gave up on at the close of the store.", counter, nil,
		func(s *storage.Stats) float64 { return float64(s.Sharded.Dropped) }},

	{"subscriptions", "Subscriptions that are not closed.", gauge, nil,
		func(s *storage.Stats) float64 { return float64(s.Subscriptions) }},
	{"subscription_lag_changes", "Changes that the slowest subscription has yet to tell.", gauge, nil,
		func(s *storage.Stats) float64 { return float64(s.SubscriptionLag) }},
	{"subscription_coalesced_changes_total", "Changes that subscriptions left out, because a newer one of their key took their place.", counter, nil,
		func(s *storage.Stats) float64 { return float64(s.SubscriptionsCoalesced) }},
	{"subscription_resets_total", "Times that a subscription missed changes and began anew with the state.", counter, nil,
		func(s *storage.Stats) float64 { return float64(s.SubscriptionResets) }},
}
