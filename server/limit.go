package server

import (
	"context"
	"hash/maphash"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Limits on requests and connections.

// rates limits the requests per second of each client, with a bucket of Burst requests that refills at the rate.
type rates struct {
	rate  float64 // per second; negative for no limit
	burst float64
	seed  maphash.Seed
	parts [16]rateShard
}

type rateShard struct {
	mu      sync.Mutex // guards buckets
	buckets map[string]bucket
	sweep   int // number of buckets at which full ones are dropped
}

// bucket is the remaining budget of a client.
type bucket struct {
	left float64
	at   time.Time
}

func newRates(rate float64, burst int) *rates {
	r := &rates{rate: rate, burst: max(1, float64(burst)), seed: maphash.MakeSeed()}
	for i := range r.parts {
		r.parts[i] = rateShard{buckets: map[string]bucket{}, sweep: 1024}
	}
	return r
}

// take takes a request from a client's budget, or returns how long the client has to wait. An empty client has no
// limit.
func (r *rates) take(client string) time.Duration {
	if r.rate < 0 || client == "" {
		return 0
	}
	now := time.Now()
	shard := &r.parts[maphash.String(r.seed, client)%uint64(len(r.parts))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	b, ok := shard.buckets[client]
	if !ok {
		if len(shard.buckets) >= shard.sweep {
			shard.drop(func(b bucket) bool { return r.filled(b, now) >= r.burst })
		}
		b = bucket{r.burst, now}
	}
	b.left, b.at = r.filled(b, now), now
	if b.left < 1 {
		shard.buckets[client] = b
		return time.Duration((1 - b.left) / r.rate * float64(time.Second))
	}
	b.left--
	shard.buckets[client] = b
	return 0
}

func (r *rates) filled(b bucket, now time.Time) float64 {
	return min(r.burst, b.left+now.Sub(b.at).Seconds()*r.rate)
}

// drop removes full buckets.
func (s *rateShard) drop(full func(bucket) bool) {
	for client, b := range s.buckets {
		if full(b) {
			delete(s.buckets, client)
		}
	}
	s.sweep = max(1024, 2*len(s.buckets))
}

// client names the client that a request counts for; empty for none, on this machine.
func (c *call) client() string {
	if name := nameOf(c.identity); name != "" {
		return "id " + name
	}
	addr, err := netip.ParseAddr(hostOf(c.r.RemoteAddr))
	switch {
	case err != nil:
		return c.r.RemoteAddr
	case addr.IsLoopback():
		return ""
	case addr.Is6() && !addr.Is4In6():
		if prefix, err := addr.WithZone("").Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.Unmap().String()
}

// connections counts the connections of Serve.
type connections struct {
	open atomic.Int64
	most int64
}

type overLimit struct{}

// enter counts a connection and marks one that exceeds the limit. Its first request is answered with an error, and it
// is closed.
func (n *connections) enter(ctx context.Context, _ net.Conn) context.Context {
	if n.open.Load() > n.most {
		return context.WithValue(ctx, overLimit{}, n.most)
	}
	return ctx
}

// checkConnection rejects requests on a connection that exceeds the limit.
func (c *call) checkConnection() error {
	most, over := c.r.Context().Value(overLimit{}).(int64)
	if !over {
		return nil
	}
	return problem(TooManyConnections, "the server has %d connections, the limit Connections; try again later", most).
		with("limit", most).header("Connection", "close").header("Retry-After", strconv.Itoa(retryAfter))
}
