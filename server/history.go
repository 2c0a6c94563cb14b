package server

import (
	"sync"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// The metrics of the last minutes, which show how the server got into its present state.

const (
	// historyEvery is the interval of samples, historyLength the number kept: ten minutes.
	historyEvery  = 2 * time.Second
	historyLength = 300
)

// sample contains the metrics at an instant. Counters start with the server; plots show differences.
type sample struct {
	Time        int64   `json:"time"` // Unix milliseconds
	Objects     int     `json:"objects"`
	DataBytes   int64   `json:"dataBytes"`
	Commits     uint64  `json:"commits"`
	Changes     uint64  `json:"changes"`
	Requests    int64   `json:"requests"`
	Streams     int64   `json:"streams"`
	Messages    uint64  `json:"messages"`
	CatchUps    uint64  `json:"catchUps"`
	Resets      uint64  `json:"resets"`
	Lag         int     `json:"lag"`
	CommitNanos float64 `json:"commitNanos"` // mean of the commits since the previous sample
}

// history keeps samples.
type history struct {
	done chan struct{} // closed after the last sample

	mu      sync.Mutex // guards the fields below
	samples []sample   // a ring
	next    int        // the oldest, once it is full
	before  storage.Latencies
}

func (s *Server) newHistory() *history {
	h := &history{done: make(chan struct{})}
	h.add(s.sample(), s.store.Stats().Commit)
	go func() {
		defer close(h.done)
		ticker := time.NewTicker(historyEvery)
		defer ticker.Stop()
		for {
			select {
			case <-s.closed:
				return
			case <-ticker.C:
				h.add(s.sample(), s.store.Stats().Commit)
			}
		}
	}()
	return h
}

// wait returns once the history has ended.
func (h *history) wait() { <-h.done }

func (s *Server) sample() sample {
	stats, streams := s.store.Stats(), s.streams.Stats()
	return sample{
		Time: time.Now().UnixMilli(), Objects: stats.Objects, DataBytes: stats.DataBytes, Commits: stats.Commits, Changes: stats.Changes,
		Requests: s.figures.requests.Load(), Streams: s.open.Load(), Messages: streams.Sent, CatchUps: streams.CatchUps,
		Resets: streams.Resets + stats.SubscriptionResets, Lag: max(stats.Lag, stats.SubscriptionLag),
	}
}

func (h *history) add(one sample, commits storage.Latencies) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := commits.Count - h.before.Count; n > 0 && commits.Count > h.before.Count {
		one.CommitNanos = float64(commits.Sum-h.before.Sum) / float64(n)
	}
	h.before = commits
	if len(h.samples) < historyLength {
		h.samples = append(h.samples, one)
		return
	}
	h.samples[h.next] = one
	h.next = (h.next + 1) % historyLength
}

// all returns the samples, the oldest first.
func (h *history) all() []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append(append([]sample{}, h.samples[h.next:]...), h.samples[:h.next]...)
}

// history answers /~/history.
func (c *call) history() error {
	c.w.Header().Set("Cache-Control", "no-store")
	return c.writeJSON(200, map[string]any{"intervalSeconds": historyEvery.Seconds(), "samples": append(c.s.history.all(), c.s.sample())})
}
