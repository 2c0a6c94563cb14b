package sqlite

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// pool has the connections that read. Each has two or three files open and reserves some GiB of addresses, so
// that there is a bound to them, whoever reads.
//
// A short read waits for its turn: nothing of a caller's runs during one. A scan keeps its connection, with
// the snapshot in it, for as long as its caller's code wants, and that code may read and scan
// itself: if it waited for a connection, two such loops could wait for each other for ever. So it waits for a
// moment, and then reads all that it asks for at once, in a turn, into memory.
type pool struct {
	open    func() (*conn, error)
	closing context.Context
	// turns holds a token for each short read in progress, scans for each scan, checks for a check.
	turns, scans, checks chan struct{}
	// patience is how long a scan waits for one before it at most.
	patience time.Duration

	mu sync.Mutex // guards the field below
	// idle are at most as many as there are turns.
	idle []*conn
}

const (
	// maxScans is how many scans keep a connection at a time.
	maxScans = 8
	// scanPatience is longer than a list of some thousand objects takes, and shorter than anybody minds.
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

// await waits for one of the places for scans or for a check, which release gives back, until the context is
// done or the store closes. The caller holds no lock.
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

// awaitScan waits for a place for a scan. There is none where release is nil.
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

// take returns a connection that is the caller's until put. The caller has a token.
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
