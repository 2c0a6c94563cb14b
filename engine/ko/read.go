package ko

import (
	"errors"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Get implements enginekit.Database.
func (d *database) Get(path string) (_ meta.Object, err error) {
	defer catch(&err)
	entry, err := d.db.Get([]byte(path), nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return meta.Object{}, storage.ErrNotFound
	}
	if err != nil {
		return meta.Object{}, err
	}
	return decodeEntry(path, entry)
}

// Keys implements enginekit.Database. LevelDB reads the entries with the keys.
func (d *database) Keys() (paths []string, err error) {
	// Start has found out whether there are entries to skip.
	skips := d.options.SkipInvalid && d.survey.undecodable.count > 0
	err = d.eachKey(func(path string, entry []byte) {
		if skips {
			if _, err := decodeEntry(path, entry); err != nil {
				return
			}
		}
		paths = append(paths, path)
	})
	return paths, err
}

// eachKey calls a function for each valid path, in byte order, with its entry, which still belongs to the database.
func (d *database) eachKey(visit func(path string, entry []byte)) error {
	it := d.db.NewIterator(nil, throughOptions)
	defer it.Release()
	for it.Next() {
		path := string(it.Key())
		if enginekit.CheckPath(path) == nil {
			visit(path, it.Value())
		} else if !d.options.SkipInvalid {
			return invalidKey(path)
		}
	}
	return it.Error()
}

// sampleSize is the maximum number of objects that SizeHint reads.
const sampleSize = 1000

// SizeHint implements storage.SizeHinter. It reads the first thousand objects and compares their space in the tables
// with that of all objects. Overwritten objects that no compaction has merged yet count twice.
func (d *database) SizeHint() int {
	hint, err := d.sizeHint()
	if err != nil {
		return 0 // only a hint; reading the objects returns the error
	}
	return hint
}

func (d *database) sizeHint() (hint int, err error) {
	defer catch(&err)
	it := d.db.NewIterator(nil, throughOptions)
	defer it.Release()
	for hint < sampleSize && it.Next() {
		hint++
	}
	if hint < sampleSize {
		return hint, it.Error()
	}
	sizes, err := d.db.SizeOf([]util.Range{{Limit: it.Key()}, {Limit: afterAll}})
	if err != nil || sizes[0] <= 0 {
		return hint, err
	}
	return max(hint, int(min(sampleSize*sizes[1]/sizes[0], 1<<30))), nil
}

// afterAll is greater than every key.
var afterAll = []byte{0xff, 0xff, 0xff, 0xff}
