// Package metrics exports the metrics of a store to Prometheus.
//
//	collector := metrics.NewCollector(store, prometheus.Labels{"store": "cities"})
//	if err := registry.Register(collector); err != nil {
//		return err
//	}
//
// Each scrape calls storage.Layered.Stats once. Nothing runs between scrapes. All names begin with oolith_. Units are
// seconds and bytes. The help text of a metric, which a scrape shows, explains it.
//
// A closed store exports only oolith_active, with value 0. Metrics that do not apply to a store are omitted: those of
// memory without a memory layer, those of the cache outside of cache mode, and the latencies of the persistent layer
// without one.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oolith-db/oolith/storage"
)

// Source is the source of the metrics, such as a *storage.Layered.
type Source interface {
	Stats() storage.Stats
}

var _ Source = (*storage.Layered)(nil)

// collector is a prometheus.Collector. It is immutable.
type collector struct {
	source  Source
	metrics []metric
	commit  *prometheus.Desc
	persist *prometheus.Desc
}

// metric describes one metric.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// there reports whether the metric applies to a store; nil for every active store.
	there func(*storage.Stats) bool
	value func(*storage.Stats) float64
}

// NewCollector returns a collector for the metrics of a store. Every metric has the labels, so several stores can
// share a registry. The collector may outlive Close and Start of the store.
func NewCollector(source Source, constLabels prometheus.Labels) prometheus.Collector {
	c := &collector{source: source}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("oolith", "", name), help, nil, constLabels)
	}
	for _, f := range figures {
		c.metrics = append(c.metrics, metric{desc(f.name, f.help), f.kind, f.there, f.value})
	}
	c.commit = desc("commit_duration_seconds", "How long commits took, from the moment in which a group's turn came until it was visible. "+
		"In a store without a persistent layer each eighth commit is measured.")
	c.persist = desc("persist_duration_seconds", "How long the persistent layer took for a commit, its sync included, also if it failed.")
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		descs <- m.desc
	}
	descs <- c.commit
	descs <- c.persist
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	stats := c.source.Stats()
	for _, m := range c.metrics {
		if m.there == nil && stats.Active || m.there != nil && m.there(&stats) {
			metrics <- made(m.desc)(prometheus.NewConstMetric(m.desc, m.kind, m.value(&stats)))
		}
	}
	if stats.Active {
		metrics <- histogram(c.commit, stats.Commit)
	}
	if stats.Persistent {
		metrics <- histogram(c.persist, stats.Persist)
	}
}

// made turns an error, such as a wrong label, into a metric that fails the scrape.
func made(desc *prometheus.Desc) func(prometheus.Metric, error) prometheus.Metric {
	return func(m prometheus.Metric, err error) prometheus.Metric {
		if err != nil {
			return prometheus.NewInvalidMetric(desc, err)
		}
		return m
	}
}

// histogram builds a histogram of latencies. Its buckets are cumulative in Prometheus.
func histogram(desc *prometheus.Desc, l storage.Latencies) prometheus.Metric {
	buckets := make(map[float64]uint64, storage.LatencyBuckets)
	sum := uint64(0)
	for i, n := range l.Buckets {
		sum += n
		if bound, ok := storage.LatencyBound(i); ok {
			buckets[bound.Seconds()] = sum
		}
	}
	return made(desc)(prometheus.NewConstHistogram(desc, l.Count, l.Sum.Seconds(), buckets))
}
