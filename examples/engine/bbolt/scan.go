package bbolt

import (
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// scan is a scan in progress. It reads from a transaction, which is a snapshot, until the next commit. Before the
// commit, it reads its remaining objects into memory. A loop over a scan may therefore write, and a store that is
// being copied or loaded streams.
type scan struct {
	db *database
	// mu guards the fields below. It is acquired last.
	mu    sync.Mutex
	tx    *bolt.Tx           // nil once everything is read
	rest  enginekit.Iterator // along the transaction
	ahead []meta.Object      // what was read from it
	err   error              // the error that ended the reading
}

// Scan implements enginekit.Database.
func (d *database) Scan(pattern string) (enginekit.Iterator, error) {
	d.writing.RLock()
	defer d.writing.RUnlock()
	tx, err := d.db.Begin(false)
	if err != nil {
		return nil, err
	}
	s := &scan{db: d, tx: tx, rest: space.Iterate(pattern, &cursor{Cursor: tx.Bucket(objects).Cursor()})}
	d.scans.Add(s)
	return s, nil
}

// Next implements enginekit.Iterator.
func (s *scan) Next(obj *meta.Object) (found bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tx != nil {
		err = guarded(func() (err error) {
			found, err = s.rest.Next(obj)
			return err
		})
		return found && err == nil, err
	}
	if len(s.ahead) == 0 {
		return false, s.err
	}
	*obj, s.ahead[0] = s.ahead[0], meta.Object{}
	s.ahead = s.ahead[1:]
	return true, nil
}

// readAhead reads the rest into memory and ends the transaction.
func (s *scan) readAhead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.end()
	s.err = guarded(func() error {
		for {
			var obj meta.Object
			if found, err := s.rest.Next(&obj); !found {
				return err
			}
			s.ahead = append(s.ahead, obj)
		}
	})
}

// end ends the transaction. A read-only transaction has no error to report.
func (s *scan) end() {
	if s.tx != nil {
		_ = s.tx.Rollback()
		s.tx = nil
	}
}

// Close implements enginekit.Iterator.
func (s *scan) Close() error {
	s.db.scans.Remove(s) // before mu, because a commit acquires the two in this order
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	return nil
}

// cursor adapts a cursor of bbolt to enginekit.Cursor.
type cursor struct {
	*bolt.Cursor
	value []byte
}

func (c *cursor) Seek(key []byte) []byte { return c.at(c.Cursor.Seek(key)) }
func (c *cursor) Next() []byte           { return c.at(c.Cursor.Next()) }

func (c *cursor) at(key, value []byte) []byte {
	c.value = value
	return key
}

func (c *cursor) Value() ([]byte, error) { return c.value, nil }
func (c *cursor) Err() error             { return nil }
func (c *cursor) Close() error           { return nil } // the transaction owns everything
