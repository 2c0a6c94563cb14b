package live

import (
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// protocol is the protocol of a connection.
type protocol uint8

const (
	wire   protocol = iota // the older WebSocket protocol
	clock                  // its clock
	socket                 // oolith.v1
	events                 // server-sent events
)

func (p protocol) String() string {
	return [...]string{wire: "wire", clock: "clock", socket: "oolith.v1", events: "sse"}[p]
}

func (p protocol) isWebSocket() bool { return p != events }

// sink receives a connection's bytes: a net.Conn taken from the HTTP server, or an HTTP/2 stream.
type sink interface {
	Write(p []byte) (int, error)
	SetWriteDeadline(t time.Time) error
	Close() error
}

// conn is a connection: a queue of frames, and a goroutine that writes while there are any. An idle connection costs
// one goroutine, which reads.
type conn struct {
	live     *Live
	sink     sink
	protocol protocol
	slot     uint8 // its second of the keep-alive cycle
	id       uint64
	since    int64 // when it began, in Unix nanoseconds
	deflate  bool  // messages are compressed
	caller   Caller
	viewer   any           // whose topics it follows
	gone     chan struct{} // closed with the connection; nil if nobody waits for that
	session  *session      // of oolith.v1

	// Guarded by the hub's mu.
	members []*member
	parts   []part // of the present commit, if it follows several patterns
	left    bool   // it takes part no more

	writer func()        // write, bound once: to start it costs no memory
	heard  atomic.Int64  // when something was read last, in Unix nanoseconds
	sent   atomic.Uint64 // messages
	caught atomic.Uint64 // fresh states, after it fell behind

	mu      sync.Mutex // guards the fields below
	queue   []queued
	few     [2]queued // memory of queue, for most connections
	heldAt  int       // how many of queue were there when held began
	unsent  int       // bytes of queue
	writing bool      // a goroutine is at it, or hold
	held    bool      // nothing is written until release
	behind  bool      // changes were dropped: it gets the fresh state
	ending  bool      // the queue is the last that it gets
	dropped bool
}

func (l *Live) newConn(s sink, p protocol, caller Caller, viewer any) *conn {
	c := &conn{live: l, sink: s, protocol: p, caller: caller, viewer: viewer}
	c.queue, c.writer = c.few[:0], c.write
	c.since = l.opt.Now().UnixNano()
	c.heard.Store(c.since)
	return c
}

// queued is a waiting frame.
type queued struct {
	frame *frame
	kept  bool // neither a change nor a state, so a fresh state does not replace it
}

// mostQueued is how many frames may wait for a client that sends requests but does not read the answers.
const mostQueued = 4096

// push queues a change. Beyond the limit it drops all waiting changes, and the connection gets a fresh state instead.
func (c *conn) push(f *frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.behind || c.ending || c.dropped {
		return
	}
	if c.unsent > 0 && c.unsent+f.size > c.live.opt.Limits.Unsent {
		c.fallBehindLocked()
		return
	}
	c.enqueueLocked(queued{f, false})
}

// state queues a state or a part of one.
func (c *conn) state(f *frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueueLocked(queued{f, false})
}

// tell queues an answer or a keep-alive.
func (c *conn) tell(f *frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueueLocked(queued{f, true})
}

func (c *conn) enqueueLocked(q queued) {
	if c.dropped || c.ending {
		return
	}
	if len(c.queue) >= mostQueued {
		go c.drop() // it takes locks that must not be taken here
		return
	}
	c.queue = append(c.queue, q)
	c.unsent += q.frame.size
	c.wakeLocked()
}

// fallBehind drops the waiting changes. The connection gets a fresh state instead.
func (c *conn) fallBehind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dropped && !c.ending {
		c.fallBehindLocked()
	}
}

func (c *conn) fallBehindLocked() {
	c.behind = true
	c.emptyLocked()
	c.wakeLocked()
}

// emptyLocked drops the waiting changes and states.
func (c *conn) emptyLocked() {
	all := c.queue
	c.queue, c.unsent, c.heldAt = nil, 0, 0
	for _, q := range all {
		if q.kept {
			c.queue = append(c.queue, q)
			c.unsent += q.frame.size
			c.heldAt++
		}
	}
	clear(c.few[:])
}

// wakeLocked starts a goroutine that writes the waiting frames.
func (c *conn) wakeLocked() {
	if c.writing || c.held {
		return
	}
	c.writing = true
	go c.writer()
}

// isBehind reports whether changes were dropped and a fresh state is due.
func (c *conn) isBehind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.behind
}

// hold delays writing until release.
func (c *conn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held, c.heldAt = true, len(c.queue)
}

// release sends some frames before the held ones.
func (c *conn) release(first []*frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	if c.dropped || c.ending {
		return
	}
	if !c.behind {
		missed := make([]queued, len(first))
		for i, f := range first {
			missed[i].frame = f
			c.unsent += f.size
		}
		c.queue = slices.Insert(c.queue, c.heldAt, missed...)
	}
	if c.behind || len(c.queue) > 0 {
		c.wakeLocked()
	}
}

// scratch is memory for combining small frames into one write.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, gather); return &b }}

const gather = 16 << 10

// write writes until nothing is waiting.
func (c *conn) write() {
	buffer := scratch.Get().(*[]byte)
	defer scratch.Put(buffer)
	for {
		f, refresh, more := c.next()
		switch {
		case refresh:
			if !c.live.hub.refresh(c) {
				return
			}
			continue
		case !more:
			return
		}
		pending := (*buffer)[:0]
		var err error
		for f != nil && err == nil {
			for _, part := range c.bytesOf(f) {
				if len(pending)+len(part) <= gather {
					pending = append(pending, part...)
					continue
				}
				if err = c.send(pending); err == nil {
					pending = pending[:0]
					err = c.send(part)
				}
				if err != nil {
					break
				}
			}
			c.live.stats.sent.Add(1)
			c.sent.Add(1)
			if f = nil; err == nil && len(pending) < gather/2 {
				f = c.another()
			}
		}
		if err == nil {
			err = c.send(pending)
		}
		*buffer = pending[:0]
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.live.stats.stalled.Add(1)
			}
			c.drop()
			return
		}
	}
}

// bytesOf returns a frame in the form for the connection.
func (c *conn) bytesOf(f *frame) [][]byte {
	if c.deflate {
		return f.deflated()
	}
	return f.bytes()
}

// send writes in pieces, each of which must be accepted in time.
func (c *conn) send(data []byte) error {
	for len(data) > 0 {
		piece := data[:min(len(data), 64<<10)]
		if err := c.sink.SetWriteDeadline(time.Now().Add(c.live.opt.Limits.Stall)); err != nil {
			return err
		}
		if _, err := c.sink.Write(piece); err != nil {
			return err
		}
		data = data[len(piece):]
	}
	return nil
}

// next returns the first frame, or says that a fresh state is due. If more is false the goroutine ends.
func (c *conn) next() (f *frame, refresh, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.dropped || c.held:
		c.writing = false
		return nil, false, false
	case len(c.queue) > 0:
		return c.popLocked(), false, true
	case c.behind:
		return nil, true, true
	case c.ending:
		go c.drop() // it takes locks that must not be taken here
		fallthrough
	default:
		c.writing = false
		c.queue = c.few[:0]
		return nil, false, false
	}
}

// another returns another frame for the same write, if there is one.
func (c *conn) another() *frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held || len(c.queue) == 0 {
		return nil
	}
	return c.popLocked()
}

func (c *conn) popLocked() *frame {
	f := c.queue[0].frame
	c.queue[0] = queued{}
	c.queue = c.queue[1:]
	c.unsent -= f.size
	return f
}

// end tells the client why the connection closes, and then closes it.
func (c *conn) end(code ws.StatusCode, reason string) { c.endWith(c.farewell(code, reason)) }

// endWith closes the connection after a last frame.
func (c *conn) endWith(last *frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dropped || c.ending {
		return
	}
	c.behind = false
	c.queue = append(c.queue, queued{last, true})
	c.unsent += last.size
	c.ending, c.held = true, false
	c.wakeLocked()
}

// drop closes the connection immediately.
func (c *conn) drop() {
	c.mu.Lock()
	if c.dropped {
		c.mu.Unlock()
		return
	}
	c.dropped, c.behind = true, false
	c.queue, c.few = nil, [2]queued{}
	c.mu.Unlock()
	_ = c.sink.Close() // there is nobody to report to
	c.live.hub.leave(c)
	if c.session != nil {
		c.live.done.Go(c.session.leave) // it waits for the store
	}
	c.live.leave(c)
	if c.gone != nil {
		close(c.gone)
	}
	c.caller.ended()
}

// takeOver takes the network connection from the HTTP server, if possible.
func takeOver(w http.ResponseWriter) (net.Conn, error) {
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Time{}) // the first write detects a broken connection
	if buffered.Reader.Buffered() > 0 {
		_ = raw.Close()
		return nil, errors.New("live: the client sent data after its request")
	}
	return raw, nil
}
