package server

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/oolith-db/oolith/metrics"
	"github.com/oolith-db/oolith/server/internal/live"
)

// figures are the metrics of the server, in addition to those of the store.
type figures struct {
	handler     http.Handler
	answers     *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	inFlight    atomic.Int64
	requests    atomic.Int64
	connections connections
}

func newFigures(s *Server) *figures {
	f := &figures{connections: connections{most: int64(s.limits.Connections)}}
	f.answers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "oolith_http_requests_total", Help: "Answered requests, by method and status code.",
	}, []string{"method", "code"})
	f.durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "oolith_http_request_duration_seconds", Help: "Duration of requests, without streams.",
		Buckets: []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
	}, []string{"method"})
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		metrics.NewCollector(s.store, nil), f.answers, f.durations,
		gauge("oolith_http_requests_in_flight", "Requests in progress, including streams.",
			func() float64 { return float64(f.inFlight.Load()) }),
		gauge("oolith_http_connections", "Open connections of Serve.",
			func() float64 { return float64(f.connections.open.Load()) }),
		gauge("oolith_http_streams", "Open streams over SSE, WebSocket and long poll.",
			func() float64 { return float64(s.open.Load()) }),
	)
	counter := func(name, help string, value func(live.Stats) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value(s.streams.Stats())) })
	}
	registry.MustRegister(
		gauge("oolith_stream_patterns", "Patterns whose state is kept for streams.",
			func() float64 { return float64(s.streams.Stats().Patterns) }),
		counter("oolith_stream_messages_encoded_total", "Messages encoded for streams: one for all streams of a pattern over one protocol.",
			func(s live.Stats) uint64 { return s.Encoded }),
		counter("oolith_stream_messages_sent_total", "Messages sent to streams.",
			func(s live.Stats) uint64 { return s.Sent }),
		counter("oolith_stream_catch_ups_total", "Streams that fell behind and received a fresh state.",
			func(s live.Stats) uint64 { return s.CatchUps }),
		counter("oolith_stream_stalled_total", "Streams closed because the client stopped reading.",
			func(s live.Stats) uint64 { return s.Stalled }),
		counter("oolith_stream_resets_total", "Resets of all streams because they fell behind the store.",
			func(s live.Stats) uint64 { return s.Resets }),
	)
	f.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return f
}

// count counts a request. An unknown method counts as "other", so clients cannot create new metrics.
func (f *figures) count(method string, status int, took time.Duration, stream bool) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other"
	}
	f.requests.Add(1)
	f.answers.WithLabelValues(method, strconv.Itoa(status)).Inc()
	if !stream {
		f.durations.WithLabelValues(method).Observe(took.Seconds())
	}
}

// writeJSON answers with a value as JSON.
func (c *call) writeJSON(status int, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	c.write(status, "application/json", append(body, '\n'))
	return nil
}

// compressFrom is the minimum size of a compressed answer.
const compressFrom = 1024

var compressors = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is valid
	}
	return w
}}

// compress compresses the body of an answer if the client accepts that. The entity tag does not change, because
// conditions are about the object, not its encoding.
func (c *call) compress(body *[]byte) {
	if len(*body) < compressFrom || !c.takesGzip() {
		return
	}
	var out bytes.Buffer
	out.Grow(len(*body) / 3)
	w := compressors.Get().(*gzip.Writer)
	defer compressors.Put(w)
	w.Reset(&out)
	_, err := w.Write(*body)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return // writing to a buffer cannot fail
	}
	c.w.Header().Set("Content-Encoding", "gzip")
	*body = out.Bytes()
}

func (c *call) takesGzip() bool {
	for part := range strings.SplitSeq(strings.Join(c.r.Header.Values("Accept-Encoding"), ","), ",") {
		name, quality, _ := strings.Cut(strings.ReplaceAll(part, " ", ""), ";")
		if strings.EqualFold(name, "gzip") {
			return quality != "q=0"
		}
	}
	return false
}
