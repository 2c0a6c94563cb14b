package enginekit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/storage"
)

// Config is what a Layer has to know of an engine whose open database is a D.
type Config[D Database] struct {
	// Name begins each error of the engine; Place is its directory or file, as errors name it.
	Name, Place string
	// Open opens the database, or nothing. Its context is done when Close begins: long calls end then.
	Open func(closing context.Context, options storage.LayerOptions) (D, error)
	// Explain puts before an error what to do about it, where the engine knows; nil for nothing. Errors of the file
	// system are explained already.
	Explain func(error) error
	// ReadOnly makes all writes storage.ErrReadOnly. To open the database accordingly is for Open.
	ReadOnly bool
	// MaxData is the greatest length in bytes of one object's data; MaxData, the constant, when zero.
	MaxData int
	// Logger gets the errors of Clear, of Close and of the ends of scans, which no caller can be told. Nil logs nothing.
	Logger *slog.Logger
}

// Life is the course of a Layer, for what its engine does besides: a database that is open from Start to Close, and
// that takes no more writes after one that failed. Its methods may be called from any number of goroutines.
type Life[D Database] struct {
	config Config[D]

	// lock guards the fields below. Every call holds it for reading while it uses the database, never while a caller's
	// code runs; Start and Close hold it for writing. So Close waits for calls in progress, which all end by themselves
	// or by the context of Open. Locks of an engine are taken after it.
	lock sync.RWMutex
	db   D
	open bool
	end  context.CancelFunc
	// scans are those in progress.
	scans Scans[*layerScan[D]]

	// failed is why nothing more is written; nil while all is well.
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

// Leave ends what a successful Enter began.
func (l *Life[D]) Leave() { l.lock.RUnlock() }

// Use calls a function with the database, which stays open meanwhile, and returns its error, or storage.ErrNotActive.
func (l *Life[D]) Use(do func(D) error) error {
	db, err := l.Enter()
	if err != nil {
		return err
	}
	defer l.Leave()
	return do(db)
}

// Write is Use for what changes the database. An error that is no *storage.EntryError, which says that nothing was written,
// stops all writing: nobody knows what the disk has kept of it.
func (l *Life[D]) Write(do func(D) error) error {
	return l.Use(func(db D) error {
		if err := l.Failure(); err != nil {
			return err
		}
		return l.Written(do(db))
	})
}

// Written stops all writing after an error of a write, which it returns; it keeps nil, *storage.EntryError and
// storage.ErrNotActive.
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

// Failure returns why the database takes no writes: storage.ErrReadOnly, or the error of the write that failed; nil
// while it does.
func (l *Life[D]) Failure() error {
	if l.config.ReadOnly {
		return storage.ErrReadOnly
	}
	if cause := l.failed.Load(); cause != nil {
		return *cause
	}
	return nil
}

// Wrap names the engine, what was being done and the place, and says what to do about an error; it keeps nil and
// storage.ErrNotActive.
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

// Log is the logger of the configuration, apart from its handler: see Apart.
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
		return fmt.Errorf("%s: open %s: %w", l.config.Name, l.config.Place, Explain("the file or directory", l.explain(err)))
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
	l.scans.End((*layerScan[D]).close)
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
