package ko

import (
	"fmt"
	"iter"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// A scan reads ahead in chunks, so that no lock is held while the caller's code runs.
// Chunks grow, because many callers want only the first few objects.
const (
	smallestChunk = 16
	maxChunk      = 512
	maxChunkBytes = 1 << 20
)

// Scan implements storage.Scanner. The snapshot is taken when the loop begins. Memory is
// bounded by one chunk of objects and the paths of directories that wait, see walk;
// the tables of the snapshot stay on disk until the loop ends.
//
// The loop's body may call the layer, Close included. Close ends the scan with
// storage.ErrNotActive, after at most the chunk that was read already.
func (l *Layer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		if pattern != "" && !key.IsValid(pattern) {
			yield(meta.Object{}, fmt.Errorf("pattern %q: %w", pattern, storage.ErrInvalidPath))
			return
		}
		w := newWalk(pattern, l.options.SkipInvalid)
		l.stream(&w, bounds(pattern), yield)
	}
}

// stream yields what a walk finds between bounds.
func (l *Layer) stream(w *walk, within *util.Range, yield func(meta.Object, error) bool) {
	s, err := l.openScan(within, readOptions(within))
	if err != nil {
		yield(meta.Object{}, err)
		return
	}
	defer s.end()
	w.it = s.it
	chunk := make([]meta.Object, 0, smallestChunk)
	for limit := smallestChunk; ; limit = min(2*limit, maxChunk) {
		var more bool
		chunk, more, err = s.read(w, chunk[:0], limit)
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

// bounds is the range of keys that can match, as far as the pattern's literal beginning
// tells; nil when that is everything.
func bounds(pattern string) *util.Range {
	literal := literalOf(pattern)
	if literal == "" {
		return nil
	}
	return util.BytesPrefix([]byte(literal))
}

// readOptions keep the blocks of a scan of everything out of the cache.
func readOptions(within *util.Range) *opt.ReadOptions {
	if within == nil {
		return throughOptions
	}
	return nil
}

// scan is an iterator that Close can end.
type scan struct {
	layer *Layer
	// it is released and ended is true after the end. The scan uses it while it holds
	// layer.life for reading; Close ends it while it holds that for writing.
	it    iterator.Iterator
	ended bool

	last string // the last path read, for errors
}

func (l *Layer) openScan(within *util.Range, options *opt.ReadOptions) (*scan, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.db == nil {
		return nil, storage.ErrNotActive
	}
	it, err := newIterator(l.db, within, options)
	if err != nil {
		return nil, l.wrap("scan", err)
	}
	s := &scan{layer: l, it: it}
	l.scanLock.Lock()
	defer l.scanLock.Unlock()
	l.scans[s] = struct{}{}
	return s, nil
}

func newIterator(db *leveldb.DB, within *util.Range, options *opt.ReadOptions) (it iterator.Iterator, err error) {
	defer catch(&err)
	return db.NewIterator(within, options), nil
}

// read appends the next objects to chunk, and tells whether there are more.
func (s *scan) read(w *walk, chunk []meta.Object, limit int) (_ []meta.Object, more bool, err error) {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.ended {
		return chunk, false, storage.ErrNotActive
	}
	for size := 0; len(chunk) < limit && size < maxChunkBytes; {
		found, err := advance(w)
		if err != nil || !found {
			return chunk, false, s.fail(err)
		}
		obj, err := decodeEntry(w.path, s.it.Value())
		if err != nil {
			return chunk, false, s.fail(err)
		}
		s.last = obj.Path
		size += len(obj.Data)
		chunk = append(chunk, obj)
	}
	return chunk, true, nil
}

// advance is next of a walk, with an error for a panic.
func advance(w *walk) (found bool, err error) {
	defer catch(&err)
	return w.next()
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
	if s.ended {
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

func (s *scan) close() {
	s.it.Release()
	s.ended = true
}
