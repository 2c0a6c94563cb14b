package badger

import (
	"bytes"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Scan implements storage.Scanner. The snapshot is taken when the loop begins. Memory is
// bounded by one chunk of objects; what the snapshot pins on disk is kept until the loop ends.
//
// The loop's body may call the layer, Close included. Close ends the scan with
// storage.ErrNotActive, after at most the chunk that was read already.
func (l *Layer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return enginekit.Scan(func() (*scan, error) { return l.openScan(pattern) })
}

// scan is a scan in progress.
type scan struct {
	layer   *Layer
	store   *store
	version uint64 // of its view
	objects enginekit.Space
	walk    *enginekit.Walk
	// it is nil before the start and after the end. The scan uses it while it holds
	// layer.life for reading; Close ends it while it holds that for writing.
	it  *badger.Iterator
	txn *badger.Txn

	started bool
	last    string // the last path read, for errors
	scratch []byte
}

// openScan begins a scan.
func (l *Layer) openScan(pattern string) (*scan, error) {
	if err := enginekit.CheckScanned(pattern); err != nil {
		return nil, err
	}
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return nil, storage.ErrNotActive
	}
	s := &scan{layer: l, store: l.store}
	if err := s.store.guard("begin a scan", func() error { s.begin(pattern); return nil }); err != nil {
		return nil, err
	}
	return s, nil
}

// begin takes the snapshot.
func (s *scan) begin(pattern string) {
	s.store.scanLock.Lock()
	defer s.store.scanLock.Unlock()
	v := s.store.view.Load()
	s.version, s.objects, s.walk = v.version, v.objects, v.objects.Walk(pattern)
	lower, _ := s.walk.Bounds()
	s.txn = s.store.db.NewTransactionAt(v.version, false)
	s.it = s.txn.NewIterator(badger.IteratorOptions{Prefix: lower})
	s.store.scans[s] = struct{}{}
}

// Read implements enginekit.Reader.
func (s *scan) Read(chunk []meta.Object, limit int) (_ []meta.Object, more bool, err error) {
	err = s.use(func() (err error) {
		more, err = enginekit.Fill(&chunk, limit, s.next)
		return s.fail(err)
	})
	return chunk, more, err
}

// next reads the next object that matches.
func (s *scan) next(obj *meta.Object) (found bool, err error) {
	if !s.move() {
		return false, nil
	}
	if *obj, err = s.decode(); err != nil {
		return false, err
	}
	s.last = obj.Path
	return true, nil
}

// readPaths appends the next paths, and tells whether there are more.
func (s *scan) readPaths(paths []string) (_ []string, more bool, err error) {
	err = s.use(func() error {
		for range enginekit.MaxChunk {
			if !s.move() {
				return nil
			}
			path, err := s.path()
			if err != nil {
				return s.fail(err)
			}
			paths = append(paths, path)
		}
		more = true
		return nil
	})
	return paths, more, err
}

// use calls a function that uses the iterator.
func (s *scan) use(call func() error) error {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.it == nil {
		return storage.ErrNotActive
	}
	return s.store.guard("scan", call)
}

// move goes to the next object that matches.
func (s *scan) move() bool {
	if s.started {
		s.it.Next()
	} else {
		s.started = true
		s.it.Rewind()
	}
	_, upper := s.walk.Bounds()
	for s.it.Valid() {
		raw := s.it.Item().Key()
		if bytes.Compare(raw, upper) >= 0 {
			return false
		}
		step, target := s.walk.At(raw)
		switch step {
		case enginekit.Take:
			return true
		case enginekit.Next:
			s.it.Next()
		case enginekit.Seek:
			s.it.Seek(target)
		}
	}
	return false
}

// path returns the path at the iterator's place.
func (s *scan) path() (path string, err error) {
	path, s.scratch, err = s.objects.Path(s.it.Item().Key(), s.scratch)
	return path, err
}

// decode reads the object at the iterator's place.
func (s *scan) decode() (obj meta.Object, err error) {
	path, err := s.path()
	if err != nil {
		return meta.Object{}, err
	}
	err = s.it.Item().Value(func(value []byte) error {
		obj, err = enginekit.Decode(path, value)
		return err
	})
	return obj, err
}

// fail says where the scan came to an end; it keeps nil.
func (s *scan) fail(err error) error {
	if err == nil {
		return nil
	}
	return s.store.wrap(enginekit.Scanning(s.last), err)
}

// End implements enginekit.Reader.
func (s *scan) End() {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.it == nil {
		return
	}
	s.close()
	s.store.scanLock.Lock()
	defer s.store.scanLock.Unlock()
	delete(s.store.scans, s)
}

// endScans ends all scans. The caller holds the layer's life for writing.
func (s *store) endScans() {
	s.scanLock.Lock()
	defer s.scanLock.Unlock()
	for scan := range s.scans {
		scan.close()
	}
	clear(s.scans)
}

// close closes the iterator. An error of it was returned by read already.
func (s *scan) close() {
	err := s.store.guard("end a scan", func() error {
		s.it.Close()
		s.txn.Discard()
		return nil
	})
	if err != nil {
		s.store.log.Debug("badger: end of a scan", "error", err)
	}
	s.it, s.txn = nil, nil
}
