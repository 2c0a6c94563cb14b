package enginekit

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Database is an open database of an engine, of which a Layer makes a persistent layer. The Layer checks the arguments first, sees to
// it that no method is called before it is open or after it is closed, and puts the engine's name, the place and what was
// being done before errors. All methods but Close may be called from any number of goroutines.
type Database interface {
	// Get returns the object at a path, storage.ErrNotFound, or an error that names the path and wraps
	// storage.ErrUndecodable.
	Get(path string) (meta.Object, error)
	// Keys returns all paths, in any order.
	Keys() ([]string, error)
	// Scan begins a scan of the objects that match a pattern, or of all for an empty one: of one snapshot, in the order
	// of storage.Scanner. Writes go on beside it.
	Scan(pattern string) (Iterator, error)
	// Commit is that of storage.Batcher, with the highest revision of the changes, which is 0 for changes that have none. There
	// is at least one change.
	Commit(changes []storage.Change, revision uint64) error
	// LastRevision is that of storage.Batcher.
	LastRevision() (uint64, error)
	// Close closes the database. All calls have returned, and all scans are closed.
	Close() error
}

// Iterator is a scan in progress. It is used by one goroutine at a time.
type Iterator interface {
	// Next sets the whole object to the next one. An error ends the scan; it names the key where it is about one.
	Next(obj *meta.Object) (found bool, err error)
	// Close gives up what the scan holds. It is called once, however the scan ends, and before the database is closed.
	Close() error
}

// Layer is a persistent layer over a Database. It implements storage.EmbeddedLayer, Batcher, Scanner, SizeHinter and
// ReadOnlyLayer; an engine embeds it in its own type, with methods for what else it offers.
type Layer[D Database] struct {
	life *Life[D]
	// delLocks make the look-up and the delete of a Del one step against other Dels of the same key. Taken after life,
	// one at a time.
	delLocks KeyLocks
}

// New returns a layer, and the course of its life for what the engine offers besides. Nothing is touched before
// Start.
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

// Close implements storage.Layer. It waits for calls in progress, ends long ones and scans with storage.ErrNotActive (a
// scan at its next object that is not read yet), and closes the database. It may be called from inside a scan's
// loop.
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

// unread is the error of an object that cannot be read.
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
	return GetList(pattern, l.openScan)
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

// SizeHint implements storage.SizeHinter: by the database, if that has such a method, or 0.
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

// Set implements storage.Layer. It is atomic, and as durable as a commit. Revision is stored as given, without a part in
// LastRevision.
func (l *Layer[D]) Set(path string, obj *meta.Object) error {
	if err := CheckPut(path, obj, l.life.config.MaxData); err != nil {
		return err
	}
	return Alone(l.life.Write(func(db D) error { return db.Commit([]storage.Change{{Key: path, Object: obj}}, 0) }))
}

// Del implements storage.Layer. An entry that cannot be decoded is removed like any other.
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

// Clear implements storage.Layer. An error can only be logged here: a store clears through Commit, which returns it.
func (l *Layer[D]) Clear() {
	if err := l.Commit([]storage.Change{{Clear: true}}); err != nil && !errors.Is(err, storage.ErrNotActive) {
		l.life.Log().Error(l.life.config.Name+": clear failed, nothing was removed", "place", l.life.config.Place, "error", err)
	}
}

// Commit implements storage.Batcher.
func (l *Layer[D]) Commit(changes []storage.Change) error {
	revision, err := CheckChanges(changes, l.life.config.MaxData)
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

// Scan implements storage.Scanner. The snapshot is taken when the loop begins. Memory is bounded by one chunk of
// objects. What the snapshot holds of the database is kept until the loop ends.
//
// The loop's body may call the layer, Close included. Close ends the scan with storage.ErrNotActive, after at most the
// chunk that was read already.
func (l *Layer[D]) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return Scan(func() (*layerScan[D], error) { return l.openScan(pattern) })
}

// layerScan is a scan in progress.
type layerScan[D Database] struct {
	life *Life[D]
	// it is nil after the end. The scan uses it while it holds the lock of life for reading; Close ends it while it
	// holds that for writing.
	it   Iterator
	last string // the last path read, for errors
}

func (l *Layer[D]) openScan(pattern string) (s *layerScan[D], err error) {
	if err := CheckScanned(pattern); err != nil {
		return nil, err
	}
	err = l.life.Use(func(db D) error {
		it, err := db.Scan(pattern)
		if err != nil {
			return l.life.Wrap("begin a scan", err)
		}
		s = &layerScan[D]{life: l.life, it: it}
		l.life.scans.Add(s)
		return nil
	})
	return s, err
}

// Read implements Reader.
func (s *layerScan[D]) Read(chunk []meta.Object, limit int) (_ []meta.Object, more bool, err error) {
	s.life.lock.RLock()
	defer s.life.lock.RUnlock()
	if s.it == nil {
		return chunk, false, storage.ErrNotActive
	}
	more, err = Fill(&chunk, limit, s.it.Next)
	if len(chunk) > 0 {
		s.last = chunk[len(chunk)-1].Path
	}
	if err != nil {
		err = s.life.Wrap(Scanning(s.last), err)
	}
	return chunk, more, err
}

// End implements Reader.
func (s *layerScan[D]) End() {
	s.life.lock.RLock()
	defer s.life.lock.RUnlock()
	if s.it != nil {
		s.life.scans.Remove(s)
		s.close()
	}
}

// close closes the iterator.
func (s *layerScan[D]) close() {
	if err := s.it.Close(); err != nil {
		s.life.Log().Debug(s.life.config.Name+": end of a scan", "error", err)
	}
	s.it = nil
}
