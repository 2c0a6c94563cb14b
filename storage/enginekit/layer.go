package enginekit

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Database is the open database of an engine. A Layer makes a persistent layer of it. The Layer validates all
// arguments, calls the methods only while the database is open, and adds the engine's name, the operation and the place
// to errors. All methods except Close must be safe for concurrent use.
type Database interface {
	// Get returns the object at a path. For an absent one the error is storage.ErrNotFound. For an entry that cannot be
	// decoded it names the path and wraps storage.ErrUndecodable.
	Get(path string) (meta.Object, error)
	// Keys returns all paths, in any order.
	Keys() ([]string, error)
	// Scan begins a scan of the objects that match a pattern, or of all objects for an empty pattern. It reads one
	// snapshot, in the order of storage.Scanner, and does not block writes.
	Scan(pattern string) (Iterator, error)
	// Commit implements storage.Batcher for one or more changes. The revision is the highest of the changes, 0 if they
	// have none.
	Commit(changes []storage.Change, revision uint64) error
	// LastRevision implements storage.Batcher.
	LastRevision() (uint64, error)
	// Close closes the database. All calls have returned and all scans are closed before it.
	Close() error
}

// Lister is a Database with a separate way to read lists, during which none of the caller's code runs.
type Lister interface {
	// List is Scan for a caller that reads to the end at once.
	List(pattern string) (Iterator, error)
}

// Iterator is a scan in progress. It is for one goroutine at a time.
type Iterator interface {
	// Next sets all fields of obj to the next object. An error ends the scan, and names the key that it concerns.
	Next(obj *meta.Object) (found bool, err error)
	// Close releases the resources of the scan. It is called once, before the database is closed.
	Close() error
}

// Layer is a persistent layer over a Database. It implements storage.EmbeddedLayer, Batcher, Scanner, SizeHinter and
// ReadOnlyLayer. An engine embeds it in its own type and adds methods.
type Layer[D Database] struct {
	life *Life[D]
	// delLocks make the lookup and the delete of a Del atomic among Dels of the same key. They are taken after life,
	// one at a time.
	delLocks KeyLocks
}

var (
	_ storage.EmbeddedLayer = (*Layer[Database])(nil)
	_ storage.Batcher       = (*Layer[Database])(nil)
	_ storage.Scanner       = (*Layer[Database])(nil)
	_ storage.SizeHinter    = (*Layer[Database])(nil)
	_ storage.ReadOnlyLayer = (*Layer[Database])(nil)
)

// New returns a layer, and its life cycle for additional methods of the engine. New opens nothing; Start does.
func New[D Database](config Config[D]) (*Layer[D], *Life[D]) {
	if config.MaxData <= 0 || config.MaxData > MaxData {
		config.MaxData = MaxData
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	config.Logger = Apart(config.Logger)
	life := &Life[D]{config: config}
	return &Layer[D]{life: life}, life
}

// Start implements storage.Layer.
func (l *Layer[D]) Start(options storage.LayerOptions) error { return l.life.start(options) }

// Close implements storage.Layer. It ends the context of Open, waits for calls in progress, closes all scans, and then
// the database. A scan returns storage.ErrNotActive at its next chunk. Close may be called inside the loop of a scan.
func (l *Layer[D]) Close() { l.life.close() }

// Active implements storage.Layer.
func (l *Layer[D]) Active() bool { return l.life.active() }

// ReadOnly implements storage.ReadOnlyLayer.
func (l *Layer[D]) ReadOnly() bool { return l.life.config.ReadOnly }

// Get implements storage.Layer.
func (l *Layer[D]) Get(path string) (meta.Object, error) {
	if err := CheckPath(path); err != nil {
		return meta.Object{}, err
	}
	db, err := l.life.Enter()
	if err != nil {
		return meta.Object{}, err
	}
	defer l.life.Leave()
	obj, err := db.Get(path)
	if err != nil {
		return meta.Object{}, l.unread(path, err)
	}
	return obj, nil
}

// unread returns the error of an object that cannot be read.
func (l *Layer[D]) unread(path string, err error) error {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return fmt.Errorf("path %q: %w", path, storage.ErrNotFound)
	case errors.Is(err, storage.ErrUndecodable):
		return l.life.Wrap("read", err)
	}
	return l.life.Wrap(fmt.Sprintf("read key %q", path), err)
}

// GetList implements storage.Layer.
func (l *Layer[D]) GetList(pattern string) ([]meta.Object, error) {
	return GetList(pattern, func(pattern string) (*layerScan[D], error) {
		return l.openScan(pattern, func(db D) (Iterator, error) {
			if lister, ok := any(db).(Lister); ok {
				return lister.List(pattern)
			}
			return db.Scan(pattern)
		})
	})
}

// Load implements storage.EmbeddedLayer.
func (l *Layer[D]) Load() (map[string]*meta.Object, error) { return Load(l) }

// Keys implements storage.Layer.
func (l *Layer[D]) Keys() (paths []string, err error) {
	err = l.life.Use(func(db D) error {
		paths, err = db.Keys()
		return l.life.Wrap("read the keys", err)
	})
	if err != nil {
		return nil, err
	}
	if paths == nil {
		paths = []string{}
	}
	slices.Sort(paths)
	return paths, nil
}

// SizeHint implements storage.SizeHinter. It calls SizeHint of the database, and returns 0 if the database has none.
func (l *Layer[D]) SizeHint() (objects int) {
	// Without a database there is nothing to count.
	_ = l.life.Use(func(db D) error {
		if hinter, ok := any(db).(storage.SizeHinter); ok {
			objects = hinter.SizeHint()
		}
		return nil
	})
	return objects
}

// Set implements storage.Layer. It is atomic, and as durable as a commit. It stores the revision as given, and
// LastRevision does not count it.
func (l *Layer[D]) Set(path string, obj *meta.Object) error {
	if err := CheckPut(path, obj, l.life.config.MaxData); err != nil {
		return err
	}
	return Alone(l.life.Write(func(db D) error { return db.Commit([]storage.Change{{Key: path, Object: obj}}, 0) }))
}

// Del implements storage.Layer. It also removes an entry that cannot be decoded.
func (l *Layer[D]) Del(path string) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	return l.life.Use(func(db D) error {
		if err := l.life.Failure(); err != nil {
			return err
		}
		lock := l.delLocks.Of(path)
		lock.Lock()
		defer lock.Unlock()
		if _, err := db.Get(path); err != nil && !errors.Is(err, storage.ErrUndecodable) {
			return l.unread(path, err)
		}
		return Alone(l.life.Written(db.Commit([]storage.Change{{Key: path}}, 0)))
	})
}

// Clear implements storage.Layer. It logs an error. A store clears through Commit, which returns the error.
func (l *Layer[D]) Clear() {
	if err := l.Commit([]storage.Change{{Clear: true}}); err != nil && !errors.Is(err, storage.ErrNotActive) {
		l.life.Log().Error(l.life.config.Name+": clear failed, nothing was removed", "place", l.life.config.Place, "error", err)
	}
}

// Commit implements storage.Batcher.
func (l *Layer[D]) Commit(changes []storage.Change) error {
	revision, err := l.life.Check(changes)
	if err != nil {
		return err
	}
	return l.life.Write(func(db D) error {
		if len(changes) == 0 {
			return nil
		}
		return db.Commit(changes, revision)
	})
}

// LastRevision implements storage.Batcher.
func (l *Layer[D]) LastRevision() (revision uint64, err error) {
	err = l.life.Use(func(db D) error {
		revision, err = db.LastRevision()
		return l.life.Wrap("read the last revision", err)
	})
	return revision, err
}

// Scan implements storage.Scanner. It takes the snapshot when the loop begins and keeps it until the loop ends. It
// holds at most one chunk of objects in memory.
//
// The body of the loop may call the layer, including Close. After Close the scan returns storage.ErrNotActive, at the
// latest at the end of the chunk that it has read.
func (l *Layer[D]) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return Scan(func() (*layerScan[D], error) {
		return l.openScan(pattern, func(db D) (Iterator, error) { return db.Scan(pattern) })
	})
}

// layerScan is a scan in progress.
type layerScan[D Database] struct {
	*Held[D]
	it   Iterator
	last string // the last path read, for errors
}

func (l *Layer[D]) openScan(pattern string, open func(D) (Iterator, error)) (*layerScan[D], error) {
	if err := CheckScanned(pattern); err != nil {
		return nil, err
	}
	var s layerScan[D]
	held, err := l.life.Hold(func(db D) (_ io.Closer, err error) {
		s.it, err = open(db)
		return s.it, l.life.Wrap("begin a scan", err)
	})
	s.Held = held
	return &s, err
}

// Read implements Reader.
func (s *layerScan[D]) Read(chunk []meta.Object, limit int) (_ []meta.Object, more bool, err error) {
	err = s.Use(func() error {
		more, err = Fill(&chunk, limit, s.it.Next)
		if len(chunk) > 0 {
			s.last = chunk[len(chunk)-1].Path
		}
		if err != nil {
			err = s.life.Wrap(Scanning(s.last), err)
		}
		return err
	})
	return chunk, more, err
}
