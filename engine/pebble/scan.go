package pebble

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// Scan implements enginekit.Database. The files that the snapshot pins stay on disk until the scan ends.
func (d *database) Scan(pattern string) (enginekit.Iterator, error) {
	lower, upper := objectKeys.Walk(pattern).Bounds()
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	return objectKeys.Iterate(pattern, cursor{it}), nil
}

// cursor adapts an iterator of Pebble to enginekit.Cursor.
type cursor struct{ it *pebble.Iterator }

func (c cursor) Seek(key []byte) []byte { return c.at(c.it.SeekGE(key)) }
func (c cursor) Next() []byte           { return c.at(c.it.Next()) }
func (c cursor) Value() ([]byte, error) { return c.it.ValueAndErr() }
func (c cursor) Err() error             { return c.it.Error() }
func (c cursor) Close() error           { return c.it.Close() }

func (c cursor) at(found bool) []byte {
	if !found {
		return nil
	}
	return c.it.Key()
}
