package enginekit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/storage"
)

// Config describes an engine whose open database has the type D.
type Config[D Database] struct {
	// Name is the first word of each error of the engine. Place is its directory or file in errors. What says which of
	// them it is: "the directory" or "the file".
	Name, Place, What string
	// Open opens the database. After an error it holds nothing. The context ends when Close begins, for calls that take
	// long.
	Open func(closing context.Context, options storage.LayerOptions) (D, error)
	// Explain adds advice to an error of the engine and returns other errors unchanged. Nil adds none. An error of Open
	// that it returns unchanged is passed to the function Explain, which handles errors of file systems.
	Explain func(error) error
	// ReadOnly makes all writes return storage.ErrReadOnly. Open opens the database accordingly.
	ReadOnly bool
	// MaxData is the greatest length in bytes of one object's data; MaxData, the constant, when zero.
	MaxData int
	// Logger receives the errors of Clear, of Close and of closing scans, which no call returns. Nil logs nothing.
	Logger *slog.Logger
}

// Life is the life cycle of a Layer. Its database is open from Start to Close, and rejects writes after a failed one.
// An engine uses it in its additional methods. All methods are safe for concurrent use.
type Life[D Database] struct {
	config Config[D]

	// lock guards the fields below. Every call holds it for reading while it uses the database, but never while a
	// caller's code runs. Start and Close hold it for writing. So Close waits for calls in progress, which all end by
	// themselves or by the context of Open. Locks of an engine are taken after it.
	lock sync.RWMutex
	db   D
	open bool
	end  context.CancelFunc
	// held are the open resources, which are closed before the database.
	held Scans[*Held[D]]

	// failed is the error of the failed write; nil before one fails.
	failed atomic.Pointer[error]
}

// Enter returns the database, which stays open until Leave, or storage.ErrNotActive.
func (l *Life[D]) Enter() (D, error) {
	l.lock.RLock()
	if !l.open {
		l.lock.RUnlock()
		var none D
		return none, storage.ErrNotActive
	}
	return l.db, nil
}

// Leave ends a successful Enter.
func (l *Life[D]) Leave() { l.lock.RUnlock() }

// Use calls a function with the open database and returns its error, or storage.ErrNotActive.
func (l *Life[D]) Use(do func(D) error) error {
	db, err := l.Enter()
	if err != nil {
		return err
	}
	defer l.Leave()
	return do(db)
}

// Write is Use for a function that writes. A *storage.EntryError means that nothing was written. Any other error stops
// all later writes, because the content of the disk is unknown.
func (l *Life[D]) Write(do func(D) error) error {
	return l.Use(func(db D) error {
		if err := l.Failure(); err != nil {
			return err
		}
		return l.Written(do(db))
	})
}

// Check validates a batch and returns the highest revision in it. See CheckChanges.
func (l *Life[D]) Check(changes []storage.Change) (revision uint64, err error) {
	return CheckChanges(changes, l.config.MaxData)
}

// Written stops all later writes after a failed one, and returns the error that they return too. It returns nil, a
// *storage.EntryError and storage.ErrNotActive unchanged.
func (l *Life[D]) Written(err error) error {
	if err == nil || errors.Is(err, storage.ErrNotActive) {
		return err
	}
	if _, refused := errors.AsType[*storage.EntryError](err); refused {
		return err
	}
	cause := fmt.Errorf("%s: the store in %s takes no more writes since one failed; see to the disk, then close the store and start it again: %w",
		l.config.Name, l.config.Place, l.explain(err))
	l.failed.CompareAndSwap(nil, &cause)
	return *l.failed.Load()
}

// Failure returns why the database rejects writes: storage.ErrReadOnly, or the error of the failed write. It returns
// nil while writes are accepted.
func (l *Life[D]) Failure() error {
	if l.config.ReadOnly {
		return storage.ErrReadOnly
	}
	if cause := l.failed.Load(); cause != nil {
		return *cause
	}
	return nil
}

// Wrap adds the engine's name, the operation, the place and advice to an error. It returns nil and storage.ErrNotActive
// unchanged.
func (l *Life[D]) Wrap(doing string, err error) error {
	if err == nil || errors.Is(err, storage.ErrNotActive) {
		return err
	}
	return fmt.Errorf("%s: %s in %s: %w", l.config.Name, doing, l.config.Place, l.explain(err))
}

func (l *Life[D]) explain(err error) error {
	if l.config.Explain == nil {
		return err
	}
	return l.config.Explain(err)
}

// Log returns the logger of the configuration. Its handler runs in a separate goroutine. See Apart.
func (l *Life[D]) Log() *slog.Logger { return l.config.Logger }

func (l *Life[D]) start(options storage.LayerOptions) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.open {
		return storage.ErrActive
	}
	closing, end := context.WithCancel(context.Background())
	db, err := l.config.Open(closing, options)
	if err != nil {
		end()
		explained := l.explain(err)
		if explained.Error() == err.Error() {
			explained = Explain(l.config.What, err)
		}
		return fmt.Errorf("%s: open %s: %w", l.config.Name, l.config.Place, explained)
	}
	l.db, l.open, l.end = db, true, end
	l.failed.Store(nil)
	return nil
}

func (l *Life[D]) close() {
	l.lock.RLock()
	if l.open {
		l.end()
	}
	l.lock.RUnlock()
	l.lock.Lock()
	defer l.lock.Unlock()
	if !l.open {
		return
	}
	l.held.End((*Held[D]).close)
	if err := l.db.Close(); err != nil {
		l.config.Logger.Error(l.config.Name+": close", "place", l.config.Place, "error", err)
	}
	var none D
	l.db, l.open, l.end = none, false, nil
}

func (l *Life[D]) active() bool {
	l.lock.RLock()
	defer l.lock.RUnlock()
	return l.open
}

// Held is a resource of a database, such as a snapshot, that stays open between calls while a caller's code runs. Close
// of the layer closes it first. It must not be used concurrently.
type Held[D Database] struct {
	life *Life[D]
	// what is nil after the end. Its users hold the lock of life for reading. Close of the layer ends it while holding
	// that lock for writing.
	what io.Closer
}

// Hold opens a resource with a function, and keeps it open until End or Close.
func (l *Life[D]) Hold(take func(D) (io.Closer, error)) (h *Held[D], err error) {
	err = l.Use(func(db D) error {
		what, err := take(db)
		if err == nil {
			h = &Held[D]{life: l, what: what}
			l.held.Add(h)
		}
		return err
	})
	return h, err
}

// Holding returns the number of open resources, including scans.
func (l *Life[D]) Holding() int { return l.held.Len() }

// Use calls a function while the resource is open. It returns storage.ErrNotActive once Close has closed the resource.
func (h *Held[D]) Use(do func() error) error {
	h.life.lock.RLock()
	defer h.life.lock.RUnlock()
	if h.what == nil {
		return storage.ErrNotActive
	}
	return do()
}

// End closes the resource. Call it once.
func (h *Held[D]) End() {
	h.life.lock.RLock()
	defer h.life.lock.RUnlock()
	if h.what != nil {
		h.life.held.Remove(h)
		h.close()
	}
}

func (h *Held[D]) close() {
	if err := h.what.Close(); err != nil {
		h.life.config.Logger.Debug(h.life.config.Name+": end of a scan", "error", err)
	}
	h.what = nil
}
