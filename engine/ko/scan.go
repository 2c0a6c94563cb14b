package ko

import (
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Scan implements enginekit.Database. It takes memory for a chunk of objects and for the paths of the pending
// directories, see walk; the tables of the snapshot stay on disk until the scan ends.
func (d *database) Scan(pattern string) (enginekit.Iterator, error) {
	within := bounds(pattern)
	it, err := newIterator(d.db, within, readOptions(within))
	if err != nil {
		return nil, err
	}
	s := &scan{walk: newWalk(pattern, d.options.SkipInvalid), lenient: d.options.SkipInvalid}
	s.walk.it = it
	return s, nil
}

// bounds returns the range of keys that can match, according to the pattern's literal prefix; nil for everything.
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

// scan is a scan in progress.
type scan struct {
	walk    walk
	lenient bool // skips invalid objects
}

func newIterator(db *leveldb.DB, within *util.Range, options *opt.ReadOptions) (it iterator.Iterator, err error) {
	defer catch(&err)
	return db.NewIterator(within, options), nil
}

// Next implements enginekit.Iterator.
func (s *scan) Next(obj *meta.Object) (found bool, err error) {
	for {
		if found, err = advance(&s.walk); err != nil || !found {
			return false, err
		}
		*obj, err = decodeEntry(s.walk.path, s.walk.it.Value())
		if err == nil || !s.lenient {
			return err == nil, err
		}
	}
}

// Close implements enginekit.Iterator.
func (s *scan) Close() error {
	s.walk.it.Release()
	return nil
}

// advance calls the walk's next and converts a panic to an error.
func advance(w *walk) (found bool, err error) {
	defer catch(&err)
	return w.next()
}
