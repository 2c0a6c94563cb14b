package pebble

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/storage"
)

var _ storage.AsyncBatcher = (*Layer)(nil)

// CommitAsync implements storage.AsyncBatcher: the batch is in the write-ahead log's order
// and visible to reads when it returns, and durable when wait returns. Close waits for wait.
func (l *Layer) CommitAsync(changes []storage.Change) (wait func() error, err error) {
	size, revision, err := l.measure(changes)
	if err != nil {
		return nil, err
	}
	l.life.RLock()
	b, err := l.apply(size, func(b *pebble.Batch) error { return addChanges(b, changes, revision) })
	if err != nil {
		l.life.RUnlock()
		return nil, err
	}
	return func() error {
		defer l.life.RUnlock()
		return l.await(b)
	}, nil
}
