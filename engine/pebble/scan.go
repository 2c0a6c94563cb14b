package pebble

import (
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/internal/codec"
	"github.com/oolith-db/oolith/internal/pathkey"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// A scan reads ahead in chunks, so that no lock is held while the caller's code runs.
// Chunks grow, because many callers want only the first few objects.
const (
	firstChunk    = 16
	maxChunk      = 512
	maxChunkBytes = 1 << 20
)

// Scan implements storage.Scanner. The snapshot is taken when the loop begins. Memory is
// bounded by one chunk of objects; what the snapshot pins on disk is kept until the loop ends.
//
// The loop's body may call the layer, Close included. Close ends the scan with
// storage.ErrNotActive, after at most the chunk that was read already.
func (l *Layer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		s, err := l.openScan(pattern)
		if err != nil {
			yield(meta.Object{}, err)
			return
		}
		defer s.end()
		chunk := make([]meta.Object, 0, firstChunk)
		for limit := firstChunk; ; limit = min(2*limit, maxChunk) {
			var more bool
			chunk, more, err = s.read(chunk[:0], limit)
			for _, obj := range chunk {
				if !yield(obj, nil) {
					return
				}
			}
			if err != nil {
				yield(meta.Object{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// scan is a scan in progress.
type scan struct {
	layer *Layer
	walk  *pathkey.Walk
	// it is nil before the start and after the end. The scan uses it while it holds
	// layer.life for reading; Close ends it while it holds that for writing.
	it *pebble.Iterator

	started bool
	last    string // the last path read, for errors
	scratch []byte
}

func (l *Layer) openScan(pattern string) (*scan, error) {
	if pattern != "" && !key.IsValid(pattern) {
		return nil, fmt.Errorf("pattern %q: %w", pattern, storage.ErrInvalidPath)
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
	l.scanLock.Lock()
	defer l.scanLock.Unlock()
	l.scans[s] = struct{}{}
	return nil
}

// read appends the next objects to chunk, and tells whether there are more.
func (s *scan) read(chunk []meta.Object, limit int) (_ []meta.Object, more bool, err error) {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.it == nil {
		return chunk, false, storage.ErrNotActive
	}
	for size := 0; len(chunk) < limit && size < maxChunkBytes; {
		if !s.next() {
			return chunk, false, s.fail(s.it.Error())
		}
		obj, err := s.decode()
		if err != nil {
			return chunk, false, s.fail(err)
		}
		s.last = obj.Path
		size += len(obj.Data)
		chunk = append(chunk, obj)
	}
	return chunk, true, nil
}

// next moves to the next object that matches.
func (s *scan) next() bool {
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
		case pathkey.Take:
			return true
		case pathkey.Next:
			ok = s.it.Next()
		case pathkey.Seek:
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
	return codec.Decode(path, value)
}

// fail says where the scan came to an end; it keeps nil.
func (s *scan) fail(err error) error {
	if err == nil {
		return nil
	}
	place := "at its first key"
	if s.last != "" {
		place = fmt.Sprintf("after key %q", s.last)
	}
	return s.layer.wrap("scan "+place, err)
}

// end gives up what the scan holds.
func (s *scan) end() {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.it == nil {
		return
	}
	s.layer.scanLock.Lock()
	delete(s.layer.scans, s)
	s.layer.scanLock.Unlock()
	s.close()
}

// endScans ends all scans. The caller holds life for writing.
func (l *Layer) endScans() {
	l.scanLock.Lock()
	defer l.scanLock.Unlock()
	for s := range l.scans {
		s.close()
	}
	l.scans = nil
}

// close closes the iterator. Its error was returned by read already.
func (s *scan) close() {
	if err := s.it.Close(); err != nil {
		s.layer.options.Logger.Debug("pebble: end of a scan", "error", err)
	}
	s.it = nil
}
