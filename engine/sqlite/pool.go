package sqlite

import (
	"sync"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
)

// pool has the connections that read. A short read waits for its turn, so that there are no more
// than size of them at a time. A scan, which lasts as long as its caller's code wants and within
// which that may read, never waits: it takes one that is idle, or a new one.
type pool struct {
	open func() (*conn, error)
	// turns holds a token for each short read in progress.
	turns chan struct{}

	mu sync.Mutex // guards the field below
	// idle are at most as many as there are turns.
	idle []*conn
}

func newPool(size int, open func() (*conn, error)) *pool {
	return &pool{open: open, turns: make(chan struct{}, size)}
}

// read calls do with a connection. What do leaves open is not closed by it.
func (p *pool) read(do func(*conn) error) (err error) {
	p.turns <- struct{}{}
	defer func() { <-p.turns }()
	c, err := p.take()
	if err != nil {
		return err
	}
	defer p.put(c)
	defer c.guard(&err)
	return do(c)
}

// take returns a connection that is the caller's until put.
func (p *pool) take() (*conn, error) {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		c := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return p.open()
}

// put gives back a connection, none of whose statements is in progress. It closes one that
// is not worth keeping or one too many; that only reads, so that an error has nothing to tell.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	if c.usable() && len(p.idle) < cap(p.turns) {
		p.idle = append(p.idle, c)
		c = nil
	}
	p.mu.Unlock()
	if c != nil {
		_ = c.close()
	}
}

// close closes all idle connections. No other is in use any more.
func (p *pool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.idle {
		errs = append(errs, c.close())
	}
	p.idle = nil
	return enginekit.FirstError(errs...)
}
