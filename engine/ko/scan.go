package ko

import (
	"iter"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Scan implements storage.Scanner. The snapshot is taken when the loop begins. Memory is
// bounded by one chunk of objects and the paths of directories that wait, see walk;
// the tables of the snapshot stay on disk until the loop ends.
//
// The loop's body may call the layer, Close included. Close ends the scan with
// storage.ErrNotActive, after at most the chunk that was read already.
func (l *Layer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return enginekit.Scan(func() (*scan, error) { return l.openWalk(pattern) })
}

// openWalk begins a scan of the objects that match.
func (l *Layer) openWalk(pattern string) (*scan, error) {
	if err := enginekit.CheckScanned(pattern); err != nil {
		return nil, err
	}
	within := bounds(pattern)
	s, err := l.openScan(within, readOptions(within))
	if err != nil {
		return nil, err
	}
	s.walk = newWalk(pattern, l.options.SkipInvalid)
	s.walk.it = s.it
	return s, nil
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

	walk walk   // of the objects, where they are read
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
	l.scans.Add(s)
	return s, nil
}

func newIterator(db *leveldb.DB, within *util.Range, options *opt.ReadOptions) (it iterator.Iterator, err error) {
	defer catch(&err)
	return db.NewIterator(within, options), nil
}

// Read implements enginekit.Reader.
func (s *scan) Read(chunk []meta.Object, limit int) (_ []meta.Object, more bool, err error) {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.ended {
		return chunk, false, storage.ErrNotActive
	}
	more, err = enginekit.Fill(&chunk, limit, s.next)
	return chunk, more, s.fail(err)
}

// next reads the next object that matches.
func (s *scan) next(obj *meta.Object) (found bool, err error) {
	for {
		if found, err = advance(&s.walk); err != nil || !found {
			return false, err
		}
		*obj, err = decodeEntry(s.walk.path, s.it.Value())
		if err == nil {
			break
		}
		if !s.layer.options.SkipInvalid {
			return false, err
		}
	}
	s.last = obj.Path
	return true, nil
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
	return s.layer.wrap(enginekit.Scanning(s.last), err)
}

// End implements enginekit.Reader.
func (s *scan) End() {
	s.layer.life.RLock()
	defer s.layer.life.RUnlock()
	if s.ended {
		return
	}
	s.layer.scans.Remove(s)
	s.close()
}

func (s *scan) close() {
	s.it.Release()
	s.ended = true
}
