// Package live streams a store's changes to clients: over the WebSocket protocol of the store's ecosystem (wire.go),
// over our own WebSocket protocol and server-sent events (socket.go, events.go), and to long polls.
//
// One subscription of the store feeds the hub (hub.go). The hub keeps the state of each followed pattern (topic.go),
// and encodes each commit as one message per protocol. All connections share that message: a frame. A connection
// (conn.go) is a short queue of frames. One that falls behind gets a fresh state instead.
//
// The order of locks is Live.mu, hub.mu, conn.mu. No function of the caller runs under any of them, and nothing is
// written to a socket.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Limits limit what clients can make the server hold. Zero means the default.
type Limits struct {
	// Unsent is how many bytes of changes may wait for a connection before it gets a fresh state instead; 64 KiB.
	Unsent int
	// Stall is how long a connection may make no progress before it is closed; 10 s.
	Stall time.Duration
	// Subscriptions is the maximum number of patterns of a connection; 100.
	Subscriptions int
	// Message is the maximum size of a client's message in bytes; 1 MiB.
	Message int
	// Present is the maximum number of objects that a connection keeps with enter; 16.
	Present int
	// Malformed is the number of malformed messages that closes a connection; 10.
	Malformed int
	// Linger is how long the state of a pattern is kept without followers; 60 s.
	Linger time.Duration
	// Spread is the time over which Close spreads the ends of streams; 3 s, at most 8 s.
	Spread time.Duration
}

func orDefault[T int | time.Duration](value *T, standard T) {
	if *value <= 0 {
		*value = standard
	}
}

func (l *Limits) complete() {
	orDefault(&l.Unsent, 64<<10)
	orDefault(&l.Stall, 10*time.Second)
	orDefault(&l.Subscriptions, 100)
	orDefault(&l.Message, 1<<20)
	orDefault(&l.Present, 16)
	orDefault(&l.Malformed, 10)
	orDefault(&l.Linger, time.Minute)
	orDefault(&l.Spread, 3*time.Second)
	l.Spread = min(l.Spread, 8*time.Second)
}

// Options configure New. The zero value works.
type Options struct {
	Limits Limits
	// Logger gets errors that no client can be told; slog.Default() if nil.
	Logger *slog.Logger
	// Now is the clock of the messages; time.Now if nil.
	Now func() time.Time
	// View returns what an identity may see of an object, or false for nothing; if nil, everybody sees everything. It
	// must be fast, because all streams wait for it, and must not modify the object. Each identity has its own
	// topics, and an identity that is not comparable has them for each connection. A View that panics shows nothing.
	View func(identity any, obj *meta.Object) (*meta.Object, bool)
	// Hidden reports whether an object is excluded from all streams; nil for none. It must be fast, because all
	// streams wait for it.
	Hidden func(path string) bool
}

// Caller is the client of a stream.
type Caller struct {
	// Identity is the argument of View.
	Identity any
	// Allowed returns an error unless the caller may use a verb ("read" or "write") on a pattern; nil allows
	// everything. It is called for requests on an open stream. The initial request is authorized before.
	Allowed func(verb, pattern string) error
	// Wait takes one message from the caller's rate limit, or returns how long it would have to wait; a caller that
	// exceeds the limit loses the connection. nil means no limit.
	Wait func() time.Duration
	// BeforeEnter sees the data of a presence before it is stored, and may change it. An error rejects it. nil
	// accepts everything.
	BeforeEnter func(path string, data *json.RawMessage) error
	// Audit gets the outcome of each request to store or remove a presence: "done", or the code of the problem. nil
	// for none.
	Audit func(path, outcome string)
	// Done is closed when the caller's access ends. The stream then ends within a second. nil means never.
	Done <-chan struct{}
	// Remote is the client's address, for Connections.
	Remote string
	// Ended is called once when the stream has ended, from any goroutine; nil for none. A stream outlives its
	// handler.
	Ended func()
}

func (c *Caller) allowed(verb, pattern string) error {
	if c.Allowed == nil {
		return nil
	}
	return c.Allowed(verb, pattern)
}

func (c *Caller) beforeEnter(path string, data *json.RawMessage) error {
	if c.BeforeEnter == nil {
		return nil
	}
	return c.BeforeEnter(path, data)
}

func (c *Caller) audit(path string, err error) {
	if c.Audit == nil {
		return
	}
	outcome := "done"
	if err != nil {
		outcome = problemOf(err).code
	}
	c.Audit(path, outcome)
}

func (c *Caller) ended() {
	if c.Ended != nil {
		c.Ended()
	}
}

// ErrClosed is the error of streams after Close.
var ErrClosed = errors.New("live: the server is shutting down; reconnect in a few seconds")

// Live is the streaming part of a server. Its methods may be called concurrently.
type Live struct {
	store *storage.Layered
	opt   Options
	hub   *hub
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	done  sync.WaitGroup // of the keeper

	mu     sync.Mutex
	closed bool
	conns  map[*conn]struct{}
	serial int // of the connections, spreads their keep-alive

	stats counters
}

// New returns the streams of a store, which must be active while they are used. The caller must close it.
func New(store *storage.Layered, opt Options) *Live {
	opt.Limits.complete()
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	l := &Live{store: store, opt: opt, conns: make(map[*conn]struct{})}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.hub = newHub(l)
	l.done.Add(1)
	go l.keep()
	return l
}

// StoreID returns the identity of the store in resume tokens and entity tags, in 16 hexadecimal digits. Another
// store, or the same one after a restore, has a different one.
func (l *Live) StoreID() string {
	const digits = "0123456789abcdef"
	var text [16]byte
	id := l.store.ID()
	for i := range text {
		text[i] = digits[id>>(60-4*i)&15]
	}
	return string(text[:])
}

// Close ends all streams, spread over Limits.Spread, and tells their clients to reconnect. It returns once they have
// ended, at most 10 s later.
func (l *Live) Close() {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	open := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		open = append(open, c)
	}
	l.mu.Unlock()
	if !first {
		l.done.Wait()
		return
	}
	spread := l.opt.Limits.Spread
	deadline := time.NewTimer(spread + 2*time.Second)
	defer deadline.Stop()
	rand.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	ticker := time.NewTicker(max(spread/50, time.Millisecond))
	defer ticker.Stop()
	for part := (len(open) + 49) / 50; len(open) > 0; open = open[min(part, len(open)):] {
		for _, c := range open[:min(part, len(open))] {
			c.end(closeRestart, "the server is shutting down")
		}
		<-ticker.C
	}
	for l.open() > 0 {
		select {
		case <-ticker.C:
			continue
		case <-deadline.C:
		}
		break
	}
	for _, c := range l.list() {
		c.drop()
	}
	l.stop()
	l.hub.close()
	l.done.Wait()
}

func (l *Live) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *Live) list() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		list = append(list, c)
	}
	return list
}

// join adds a connection, unless the server is shutting down.
func (l *Live) join(c *conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.serial++
	c.slot, c.id = uint8(l.serial%keepAliveSlots), uint64(l.serial)
	l.conns[c] = struct{}{}
	return nil
}

func (l *Live) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// Stats are metrics of the streams. Counters start with New.
type Stats struct {
	// Connections is the number of open streams by protocol: "wire", "clock", "oolith.v1", "sse".
	Connections map[string]int
	// Patterns is the number of states that the hub keeps, including lingering ones.
	Patterns int
	// Subscriptions is the number of subscriptions of the hub to the store: 1 or 0.
	Subscriptions int
	// Encoded is the number of encoded messages; Sent is the number of messages given to connections.
	Encoded, Sent uint64
	// CatchUps is how often a connection fell behind and got a fresh state.
	CatchUps uint64
	// Stalled is the number of connections closed because they made no progress.
	Stalled uint64
	// Resets is how often the hub itself started over because it fell behind the store.
	Resets uint64
}

type counters struct {
	encoded, sent, catchUps, stalled, resets atomic.Uint64
}

// Stats returns the metrics of the streams.
func (l *Live) Stats() Stats {
	s := Stats{Connections: map[string]int{}}
	for _, c := range l.list() {
		s.Connections[c.protocol.String()]++
	}
	s.Patterns, s.Subscriptions = l.hub.size()
	s.Encoded, s.Sent = l.stats.encoded.Load(), l.stats.sent.Load()
	s.CatchUps, s.Stalled, s.Resets = l.stats.catchUps.Load(), l.stats.stalled.Load(), l.stats.resets.Load()
	return s
}

// Followers returns the number of connections of each followed pattern.
func (l *Live) Followers() map[string]int {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	followers := make(map[string]int, len(l.hub.topics))
	for k, t := range l.hub.topics {
		if len(t.members) > 0 {
			followers[k.pattern] += len(t.members)
		}
	}
	return followers
}

// guard runs a function of the application and returns its panic as an error.
func guard(what string, run func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("live: %s panics: %v", what, p)
		}
	}()
	run()
	return nil
}
