package ko

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// survey is the result of reading a whole database.
type survey struct {
	entries     int     // the readable ones
	invalid     keyList // keys that are not valid paths
	undecodable keyList // valid paths whose entries are not valid objects
	revision    uint64  // the highest in an entry
}

// throughOptions read a whole database without evicting other blocks from the cache.
var throughOptions = &opt.ReadOptions{DontFillCache: true}

// surveyDatabase reads the whole database. An entry that cannot be decoded is not an error here, only for a later
// read. It costs as much as reading all tables, because LevelDB keeps keys and values in the same blocks. A thorough
// survey also looks up each key.
func surveyDatabase(db *leveldb.DB, thorough bool) (s survey, err error) {
	defer catch(&err)
	it := db.NewIterator(nil, throughOptions)
	defer it.Release()
	for it.Next() {
		s.entries++
		path := string(it.Key())
		if thorough {
			if found, err := db.Has(it.Key(), nil); err != nil || !found {
				return s, cmp.Or[error](err, &corruption{fmt.Errorf("a look-up does not find key %q", path)})
			}
		}
		if enginekit.CheckPath(path) != nil {
			s.invalid.add(path)
			continue
		}
		obj, err := decodeEntry(path, it.Value())
		if err != nil {
			s.undecodable.add(path)
			continue
		}
		s.revision = max(s.revision, obj.Revision)
	}
	return s, it.Error()
}

// catch converts a panic to an error. LevelDB panics on a look-up in a table whose index was broken by its own
// recovery; see repair.go.
func catch(err *error) {
	if p := recover(); p != nil {
		*err = &corruption{fmt.Errorf("LevelDB panics: %v", p)}
	}
}

// maxListed limits the number of keys in a keyList.
const maxListed = 100

// keyList is a possibly long list of keys: the first keys and the total number.
type keyList struct {
	first []string
	count int
}

func (k *keyList) add(key string) {
	if k.count++; len(k.first) < maxListed {
		k.first = append(k.first, key)
	}
}

// maxShown is the maximum number of keys in an error.
const maxShown = 20

// refusal returns the error of a database with keys that are not valid paths; nil if there are none.
func (k *keyList) refusal() error {
	if k.count == 0 {
		return nil
	}
	shown := make([]string, 0, maxShown)
	for _, path := range k.first[:min(maxShown, len(k.first))] {
		shown = append(shown, fmt.Sprintf("%q (%v)", path, whyInvalid(path)))
	}
	more := ""
	if k.count > len(shown) {
		more = fmt.Sprintf(" and %d more", k.count-len(shown))
	}
	return fmt.Errorf("%w, %d of its keys are no valid paths, %s%s; rename them with the software that wrote them, "+
		"or open the rest with invalid=skip", storage.ErrInvalidPath, k.count, strings.Join(shown, ", "), more)
}

// whyInvalid says what is wrong with a key that enginekit.CheckPath rejects.
func whyInvalid(path string) error {
	if err := key.Check(path); err != nil {
		return err
	}
	return storage.ErrGlobNotAllowed
}
