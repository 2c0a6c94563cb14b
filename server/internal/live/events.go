package live

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// ServeEvents serves server-sent events: the state of patterns, and then each commit that concerns them as one event.
// The header Last-Event-ID resumes. Over HTTP/1 it returns once the stream runs, over HTTP/2 when the stream ends.
// The caller must validate and authorize the patterns.
func (l *Live) ServeEvents(w http.ResponseWriter, r *http.Request, caller Caller, patterns []string) {
	patterns = unique(patterns)
	viewer := l.viewerOf(caller.Identity)
	for _, pattern := range patterns {
		if _, err := l.hub.topic(r.Context(), pattern, viewer); err != nil {
			l.refuse(w, err)
			caller.ended()
			return
		}
	}
	resume := r.Header.Get("Last-Event-ID")
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache, no-transform")
	header.Set("X-Accel-Buffering", "no") // proxies must not buffer events
	caller.Allowed = nil
	if r.ProtoMajor == 1 {
		if raw, err := takeOver(w); err == nil {
			l.serveTaken(raw, header, caller, viewer, patterns, resume)
			return
		}
	}
	out := &response{w: w, control: http.NewResponseController(w)}
	c := l.newConn(out, events, caller, viewer)
	c.gone = make(chan struct{})
	if err := l.join(c); err != nil {
		l.refuse(w, err)
		caller.ended()
		return
	}
	w.WriteHeader(http.StatusOK)
	l.begin(c, patterns, resume)
	select {
	case <-c.gone:
	case <-r.Context().Done():
		c.drop()
	}
	out.finish()
}

// serveTaken serves events over a connection taken from the HTTP server, which saves its buffers. The end of the
// connection is the end of the answer.
func (l *Live) serveTaken(raw net.Conn, header http.Header, caller Caller, viewer any, patterns []string, resume string) {
	c := l.newConn(raw, events, caller, viewer)
	if err := l.join(c); err != nil {
		_, _ = io.WriteString(raw, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\n\r\n")
		_ = raw.Close()
		caller.ended()
		return
	}
	c.tell(newFrame(&l.stats, 300, func() [][]byte { return [][]byte{headOf(header)} }))
	l.begin(c, patterns, resume)
	go c.awaitEnd(raw)
}

// awaitEnd returns when the client is gone. It ignores what the client sends.
func (c *conn) awaitEnd(raw net.Conn) {
	var ignored [64]byte
	for {
		if _, err := raw.Read(ignored[:]); err != nil {
			break
		}
	}
	c.mu.Lock()
	ending := c.ending
	c.mu.Unlock()
	if !ending { // otherwise the writer of the last frame closes the connection
		c.drop()
	}
}

func headOf(header http.Header) []byte {
	var text buffer
	text = append(text, "HTTP/1.1 200 OK\r\nConnection: close\r\n"...)
	header = header.Clone()
	header.Del("Connection")
	header.Del("Content-Length")
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	_ = header.Write(&text) // memory cannot fail
	return append(text, "\r\n"...)
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// begin attaches a stream of events.
func (l *Live) begin(c *conn, patterns []string, resume string) {
	c.tell(ready(fmt.Appendf(nil, "retry: %d\n\n", retryAfter())))
	members := make([]*member, len(patterns))
	for i, pattern := range patterns {
		members[i] = &member{id: string(appendText(nil, pattern))}
	}
	if err := l.hub.attach(l.ctx, c, patterns, members, resume, ""); err != nil {
		c.end(closeRestart, "the stream cannot start")
	}
}

func unique(patterns []string) []string {
	sorted := slices.Clone(patterns)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// response is the sink of a stream whose connection cannot be taken from the HTTP server.
type response struct {
	w       io.Writer
	control *http.ResponseController

	mu   sync.Mutex // held while w is used
	over bool       // the handler is about to return
}

func (o *response) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return 0, io.ErrClosedPipe
	}
	n, err := o.w.Write(p)
	if err == nil {
		err = o.control.Flush()
	}
	return n, err
}

func (o *response) SetWriteDeadline(t time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return io.ErrClosedPipe
	}
	if err := o.control.SetWriteDeadline(t); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Close does nothing: the answer ends when the handler returns.
func (o *response) Close() error { return nil }

// finish waits for a write in progress and prevents further ones.
func (o *response) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
}
