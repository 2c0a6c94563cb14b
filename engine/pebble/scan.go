package pebble

import (
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

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
	layer *Layer
	walk  *enginekit.Walk
	// it is nil before the start and after the end. The scan uses it while it holds
	// layer.life for reading; Close ends it while it holds that for writing.
	it *pebble.Iterator

	started bool
	last    string // the last path read, for errors
	scratch []byte
}

func (l *Layer) openScan(pattern string) (*scan, error) {
	if err := enginekit.CheckScanned(pattern); err != nil {
		return nil, err
	}
	s := &scan{layer: l, walk: objectKeys.Walk(pattern)}
	lower, upper := s.walk.Bounds()
	if err := s.open(&pebble.IterOptions{LowerBound: lower, UpperBound: upper}); err != nil {
		return nil, err
	}
	return s, nil
}

// open takes the snapshot.
func (s *scan) open(options *pebble.IterOptions) error {
	l := s.layer
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return storage.ErrNotActive
	}
	it, err := l.db.NewIter(options)
	if err != nil {
		return l.wrap("begin a scan", err)
	}
	s.it = it
	l.scans.Add(s)
	return nil
}

// Read implements enginekit.Reader.
func (s *scan) Read(chunk []meta.Object, limit int) (_ []meta.Object, more bool, err error) {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.it == nil {
		return chunk, false, storage.ErrNotActive
	}
	more, err = enginekit.Fill(&chunk, limit, s.next)
	return chunk, more, s.fail(err)
}

// next reads the next object that matches.
func (s *scan) next(obj *meta.Object) (found bool, err error) {
	if !s.move() {
		return false, s.it.Error()
	}
	if *obj, err = s.decode(); err != nil {
		return false, err
	}
	s.last = obj.Path
	return true, nil
}

// move goes to the next object that matches.
func (s *scan) move() bool {
	var ok bool
	if s.started {
		ok = s.it.Next()
	} else {
		s.started = true
		ok = s.it.First()
	}
	for ok {
		step, target := s.walk.At(s.it.Key())
		switch step {
		case enginekit.Take:
			return true
		case enginekit.Next:
			ok = s.it.Next()
		case enginekit.Seek:
			ok = s.it.SeekGE(target)
		}
	}
	return false
}

// decode reads the object at the iterator's place.
func (s *scan) decode() (meta.Object, error) {
	path, scratch, err := objectKeys.Path(s.it.Key(), s.scratch)
	if err != nil {
		return meta.Object{}, err
	}
	s.scratch = scratch
	value, err := s.it.ValueAndErr()
	if err != nil {
		return meta.Object{}, fmt.Errorf("key %q: %w", path, err)
	}
	return enginekit.Decode(path, value)
}

// fail says where the scan came to an end; it keeps nil.
func (s *scan) fail(err error) error {
	if err == nil {
		return nil
	}
	return s.layer.wrap(enginekit.Scanning(s.last), err)
}

// End implements enginekit.Reader.
func (s *scan) End() {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.it == nil {
		return
	}
	s.layer.scans.Remove(s)
	s.close()
}

// close closes the iterator. Its error was returned by read already.
func (s *scan) close() {
	if err := s.it.Close(); err != nil {
		s.layer.options.Logger.Debug("pebble: end of a scan", "error", err)
	}
	s.it = nil
}
