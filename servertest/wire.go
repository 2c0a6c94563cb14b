package servertest

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is a network fault for one request and its answer. The zero value is no fault.
type Fault struct {
	// Delay delays the request.
	Delay time.Duration
	// Lost cuts the connection before the request reaches the server.
	Lost bool
	// Twice delivers the request to the server twice in a row, like a proxy that retries. The client gets the second
	// answer. A stream is requested only once.
	Twice bool
	// Cut closes the connection after After bytes of the answer, including its header.
	Cut bool
	// Stall stops sending after After bytes of the answer and keeps the connection open.
	Stall bool
	// After is how many bytes of the answer Cut and Stall let through.
	After int
}

// Next returns a function for Server.Faults with faults for the next requests, one each in order of arrival, and none
// for later requests.
func Next(faults ...Fault) func(*http.Request) Fault {
	var n atomic.Int64
	return func(*http.Request) Fault {
		if at := int(n.Add(1)) - 1; at < len(faults) {
			return faults[at]
		}
		return Fault{}
	}
}

// wire tracks the open connections between clients and a server, including those taken over for streams.
type wire struct {
	choose atomic.Pointer[func(*http.Request) Fault]

	mu   sync.Mutex // guards open
	open map[*wired]bool
}

func newWire() *wire { return &wire{open: map[*wired]bool{}} }

// cut closes all connections.
func (w *wire) cut() {
	w.mu.Lock()
	open := slices.Collect(maps.Keys(w.open))
	w.mu.Unlock()
	for _, conn := range open {
		_ = conn.Close() // already closed
	}
}

type wireListener struct {
	net.Listener
	wire *wire
}

func listenOn(listener net.Listener, w *wire) net.Listener { return wireListener{listener, w} }

func (l wireListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	kept := &wired{Conn: conn, wire: l.wire}
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	l.wire.open[kept] = true
	return kept, nil
}

// wiredKey is the context key of a request's connection.
type wiredKey struct{}

// wired is a connection whose answer can be cut off.
type wired struct {
	net.Conn
	wire *wire

	mu    sync.Mutex // guards what follows
	fault *Fault     // of the answer that is under way; nil for none
	left  int        // bytes that it lets through
}

// arm sets the fault of the next answer.
func (c *wired) arm(fault Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault, c.left = &fault, fault.After
}

func (c *wired) Write(p []byte) (int, error) {
	c.mu.Lock()
	fault, through := c.fault, len(p)
	if fault != nil {
		through = min(through, c.left)
		c.left -= through
	}
	c.mu.Unlock()
	if fault == nil || through == len(p) {
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p[:through])
	switch {
	case err != nil:
		return n, err
	case fault.Cut:
		return n, c.Close()
	}
	return len(p), nil // the server must not notice
}

func (c *wired) Close() error {
	c.wire.mu.Lock()
	delete(c.wire.open, c)
	c.wire.mu.Unlock()
	return c.Conn.Close()
}

// handler adds the faults to a handler.
func (w *wire) handler(to http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		choose := w.choose.Load()
		if choose == nil || *choose == nil {
			to.ServeHTTP(rw, r)
			return
		}
		fault := (*choose)(r)
		conn := r.Context().Value(wiredKey{}).(*wired)
		if fault.Delay > 0 {
			select {
			case <-time.After(fault.Delay):
			case <-r.Context().Done():
			}
		}
		if fault.Lost {
			_ = conn.Close() // already closed
			panic(http.ErrAbortHandler)
		}
		if fault.Twice && !isStream(r) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			first := r.Clone(r.Context())
			first.Body, r.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
			to.ServeHTTP(nobody{http.Header{}}, first)
		}
		if fault.Cut || fault.Stall {
			conn.arm(fault)
		}
		to.ServeHTTP(rw, r)
	})
}

func isStream(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" || strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// nobody discards an answer that no client receives.
type nobody struct{ header http.Header }

func (n nobody) Header() http.Header       { return n.header }
func (nobody) WriteHeader(int)             {}
func (nobody) Write(p []byte) (int, error) { return len(p), nil }
