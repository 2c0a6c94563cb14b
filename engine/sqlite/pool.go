package sqlite

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// pool has the connections for reading. Each has two or three open files and reserves some GiB of addresses, so their
// number is limited regardless of the number of readers.
//
// A short read waits for its turn: no code of a caller runs during one. A scan keeps its connection, with the
// snapshot in it, for as long as its caller's code takes, and that code may itself read and scan: if scans waited for
// a connection without a limit, two such loops could wait for each other forever. A scan therefore waits for a short
// time, and then reads its whole result into memory, in one turn.
type pool struct {
	open    func() (*conn, error)
	closing context.Context
	// turns holds a token for each short read in progress, scans one for each scan, checks one for a check.
	turns, scans, checks chan struct{}
	// patience is the maximum time that a scan waits for an earlier one.
	patience time.Duration

	mu sync.Mutex // guards the field below
	// idle never holds more connections than there are turns.
	idle []*conn
}

const (
	// maxScans is the number of scans that can keep a connection at the same time.
	maxScans = 8
	// scanPatience is longer than a list of some thousand objects takes, and too short to be noticed.
	scanPatience = 100 * time.Millisecond
)

func newPool(closing context.Context, size int, open func() (*conn, error)) *pool {
	return &pool{
		open:     open,
		closing:  closing,
		turns:    make(chan struct{}, size),
		scans:    make(chan struct{}, maxScans),
		checks:   make(chan struct{}, 1),
		patience: scanPatience,
	}
}

// read calls do with a connection. The statements that do leaves open are not closed.
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

// await waits for one of the places for scans or for a check, until the context is done or the store closes. release
// frees the place. The caller holds no lock.
func (p *pool) await(ctx context.Context, places chan struct{}) (release func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closing.Done():
		return nil, storage.ErrNotActive
	}
}

// awaitScan waits for a place for a scan. release is nil if none became free.
func (p *pool) awaitScan() (release func(), err error) {
	select {
	case p.scans <- struct{}{}:
		return func() { <-p.scans }, nil
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	if release, err = p.await(ctx, p.scans); errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return release, err
}

// take returns a connection for exclusive use until put. The caller has a token.
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

// put returns a connection without statements in progress. It closes the connection if it is not worth keeping or
// exceeds the limit. A connection that only reads has no error to report on close.
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

// close closes all idle connections. No other connection is in use.
func (p *pool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, c := range p.idle {
		errs = append(errs, c.close())
	}
	p.idle = nil
	return cmp.Or(errs...)
}
