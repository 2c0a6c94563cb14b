package metrics_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/oolith-db/oolith/metrics"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// fixed is a source of figures that do not change.
type fixed storage.Stats

func (f fixed) Stats() storage.Stats { return storage.Stats(f) }

// full are figures of which each number is another one.
func full() storage.Stats {
	s := storage.Stats{
		Active: true, InMemory: true, Cached: true, Persistent: true, Shared: true,
		Objects: 1, Directories: 2, DataBytes: 3, Expiring: 4, Revision: 5, Commits: 6, Changes: 7,
		WritesStopped: errors.New("the disk is gone"), CacheHits: 8, CacheMisses: 9, Locks: 10,
		CacheEvictions: 21, CacheBytes: 22, CacheLimit: 23,
		Watchers: 11, Lag: 12, Coalesced: 13, Sharded: storage.ShardedStats{Queued: 14, Coalesced: 15, Dropped: 16},
		Subscriptions: 17, SubscriptionLag: 18, SubscriptionsCoalesced: 19, SubscriptionResets: 20,
		Staleness: 24 * time.Second, Unavailable: errors.New("no quorum"),
		Commit: storage.Latencies{Count: 6, Sum: 1500 * time.Millisecond}, Persist: storage.Latencies{Count: 1, Sum: time.Minute},
	}
	s.Commit.Buckets[0], s.Commit.Buckets[2] = 2, 4
	s.Persist.Buckets[storage.LatencyBuckets-1] = 1
	return s
}

// TestEachFigure shows that each figure is in its metric, with the labels of the collector.
func TestEachFigure(t *testing.T) {
	const want = `
# HELP oolith_active Whether the store is started.
# TYPE oolith_active gauge
oolith_active{store="a"} 1
# HELP oolith_cache_hits_total Reads of single objects that memory answered, in the cache mode.
# TYPE oolith_cache_hits_total counter
oolith_cache_hits_total{store="a"} 8
# HELP oolith_cache_misses_total Reads of single objects that went to the persistent layer, in the cache mode.
# TYPE oolith_cache_misses_total counter
oolith_cache_misses_total{store="a"} 9
# HELP oolith_changes_total Changes that were committed. Divided by the commits it is the mean size of a group.
# TYPE oolith_changes_total counter
oolith_changes_total{store="a"} 7
# HELP oolith_commits_total Commits: groups of writes that were made durable at once.
# TYPE oolith_commits_total counter
oolith_commits_total{store="a"} 6
# HELP oolith_data_bytes Bytes of data of the objects in memory, without their paths and what is kept around them.
# TYPE oolith_data_bytes gauge
oolith_data_bytes{store="a"} 3
# HELP oolith_revision Revision of the last commit. It goes on where it was after a restart.
# TYPE oolith_revision gauge
oolith_revision{store="a"} 5
`
	c := metrics.NewCollector(fixed(full()), prometheus.Labels{"store": "a"})
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "oolith_active", "oolith_cache_hits_total", "oolith_cache_misses_total",
		"oolith_changes_total", "oolith_commits_total", "oolith_data_bytes", "oolith_revision"); err != nil {
		t.Error(err)
	}
	values := make(map[string]float64)
	for _, family := range gather(t, c) {
		m := family.GetMetric()[0]
		switch family.GetType() {
		case dto.MetricType_COUNTER:
			values[family.GetName()] = m.GetCounter().GetValue()
		case dto.MetricType_GAUGE:
			values[family.GetName()] = m.GetGauge().GetValue()
		}
	}
	wantValues := map[string]float64{
		"active": 1, "objects": 1, "directories": 2, "data_bytes": 3, "expiring_objects": 4, "revision": 5, "commits_total": 6,
		"changes_total": 7, "writes_stopped": 1, "cache_hits_total": 8, "cache_misses_total": 9, "cache_evictions_total": 21,
		"cache_bytes": 22, "cache_limit_bytes": 23, "locks": 10, "watchers": 11,
		"watcher_lag_events": 12, "watcher_coalesced_events_total": 13, "channel_queued_events": 14,
		"channel_coalesced_events_total": 15, "channel_dropped_events_total": 16, "subscriptions": 17,
		"subscription_lag_changes": 18, "subscription_coalesced_changes_total": 19, "subscription_resets_total": 20,
		"staleness_seconds": 24, "unavailable": 1,
	}
	for name, want := range wantValues {
		if got, ok := values["oolith_"+name]; !ok || got != want {
			t.Errorf("oolith_%s is %v, %v, want %v", name, got, ok, want)
		}
	}
	if len(values) != len(wantValues) {
		t.Errorf("%d metrics, want %d: %v", len(values), len(wantValues), values)
	}
}

// TestNoFigureIsForgotten counts the fields of storage.Stats: who adds one adds a metric, and to this test.
func TestNoFigureIsForgotten(t *testing.T) {
	// Five say what the store is, and decide which metrics there are; one of these is a metric. Two are histograms,
	// and Sharded is three.
	fields := reflect.TypeFor[storage.Stats]().NumField() + reflect.TypeFor[storage.ShardedStats]().NumField() - 1
	if got := testutil.CollectAndCount(metrics.NewCollector(fixed(full()), nil)); got != fields-4 {
		t.Errorf("%d metrics for %d fields, want %d", got, fields, fields-4)
	}
}

func gather(t *testing.T, collectors ...prometheus.Collector) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// TestHistograms shows that buckets are cumulative, in seconds, and leave nothing out.
func TestHistograms(t *testing.T) {
	histograms := make(map[string]*dto.Histogram)
	for _, family := range gather(t, metrics.NewCollector(fixed(full()), nil)) {
		if family.GetType() == dto.MetricType_HISTOGRAM {
			histograms[family.GetName()] = family.GetMetric()[0].GetHistogram()
		}
	}
	commit, persist := histograms["oolith_commit_duration_seconds"], histograms["oolith_persist_duration_seconds"]
	if commit == nil || persist == nil || len(histograms) != 2 {
		t.Fatalf("the histograms are %v", histograms)
	}
	if commit.GetSampleCount() != 6 || commit.GetSampleSum() != 1.5 {
		t.Errorf("%d commits in %v s, want 6 in 1.5", commit.GetSampleCount(), commit.GetSampleSum())
	}
	for i, want := range []struct {
		bound float64
		count uint64
	}{{256e-9, 2}, {512e-9, 2}, {1024e-9, 6}, {2048e-9, 6}} {
		b := commit.GetBucket()[i]
		if b.GetUpperBound() != want.bound || b.GetCumulativeCount() != want.count {
			t.Errorf("bucket %d: %d up to %v, want %d up to %v", i, b.GetCumulativeCount(), b.GetUpperBound(), want.count, want.bound)
		}
	}
	last := persist.GetBucket()[len(persist.GetBucket())-1]
	if persist.GetSampleCount() != 1 || last.GetCumulativeCount() != 0 || last.GetUpperBound() < 34 || last.GetUpperBound() > 35 {
		t.Errorf("of one that took a minute, %d are up to %v s, want none up to 34", last.GetCumulativeCount(), last.GetUpperBound())
	}
}

// TestLint asks Prometheus' own rules for names, units and help texts.
func TestLint(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(metrics.NewCollector(fixed(full()), nil)); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestStores shows which metrics stores of each kind have, in a registry that checks what collectors say of
// themselves, and that they go on through Close and Start.
func TestStores(t *testing.T) {
	layer := func() storage.EmbeddedLayer { return storagetest.NewBatchLayer(&storagetest.Disk{}, "d") }
	const common = 25 - 8 // without memory and cache
	for _, test := range []struct {
		name   string
		config storage.LayeredConfig
		want   int
	}{
		{"memory", storage.LayeredConfig{Memory: storage.NewMemoryLayer()}, common + 3 + 1},
		{"memory over a layer", storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer()}, common + 3 + 2},
		{"cache over a layer", storage.LayeredConfig{
			Memory: storage.NewMemoryLayer(), MemoryOptions: storage.LayerOptions{SkipLoadMemory: true}, Embedded: layer(),
		}, common + 8 + 2},
		{"a layer alone", storage.LayeredConfig{Embedded: layer()}, common + 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := storage.New(test.config)
			c := metrics.NewCollector(store, nil)
			for range 2 {
				if got := len(gather(t, c)); got != 1 {
					t.Errorf("%d metrics of a store that is not started, want oolith_active alone", got)
				}
				if err := store.Start(storage.Options{}); err != nil {
					t.Fatal(err)
				}
				for i := range 8 {
					if _, err := store.Set(fmt.Sprintf("a/%d", i), []byte("1")); err != nil {
						t.Fatal(err)
					}
				}
				if got := len(gather(t, c)); got != test.want {
					t.Errorf("%d metrics, want %d", got, test.want)
				}
				const want = "# HELP oolith_changes_total Changes that were committed. Divided by the commits it is the mean size of a group.\n" +
					"# TYPE oolith_changes_total counter\noolith_changes_total 8\n"
				if err := testutil.CollectAndCompare(c, strings.NewReader(want), "oolith_changes_total"); err != nil {
					t.Error(err)
				}
				store.Close()
			}
		})
	}
}

// TestStoresShareARegistry tells stores apart by their labels.
func TestStoresShareARegistry(t *testing.T) {
	families := gather(t,
		metrics.NewCollector(fixed(full()), prometheus.Labels{"store": "a"}),
		metrics.NewCollector(fixed(full()), prometheus.Labels{"store": "b"}))
	for _, family := range families {
		if n := len(family.GetMetric()); n != 2 {
			t.Errorf("%s has %d metrics, want one for each store", family.GetName(), n)
		}
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(metrics.NewCollector(fixed(full()), nil)); err != nil {
		t.Fatal(err)
	}
	if err := registry.Register(metrics.NewCollector(fixed(full()), nil)); err == nil {
		t.Error("two stores without labels share a registry")
	}
}

// TestWrongLabels shows that a label that cannot be is an error of the registration, and no panic.
func TestWrongLabels(t *testing.T) {
	c := metrics.NewCollector(fixed(full()), prometheus.Labels{"not a\xff label": "x"})
	if err := prometheus.NewPedanticRegistry().Register(c); err == nil {
		t.Error("a label that is none is accepted")
	}
	registry := prometheus.NewRegistry()
	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
	metric := make(chan prometheus.Metric, 100)
	c.Collect(metric)
	if err := (<-metric).Write(new(dto.Metric)); err == nil {
		t.Error("a metric with a label that is none can be written")
	}
}
