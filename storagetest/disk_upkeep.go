package storagetest

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/oolith-db/oolith/storage"
)

// Check implements storage.Checker.
func (l *BatchLayer) Check(ctx context.Context, report func(error)) (objects int, err error) {
	records, err := l.copied()
	if err != nil {
		return 0, err
	}
	for _, path := range slices.Sorted(maps.Keys(records)) {
		if err := ctx.Err(); err != nil {
			return objects, err
		}
		if _, err := decode(path, records[path]); err != nil {
			report(err)
			continue
		}
		objects++
	}
	return objects, nil
}

// copied returns the records, so a check holds no lock while it reports.
func (l *BatchLayer) copied() (map[string][]byte, error) {
	l.disk.mu.RLock()
	defer l.disk.mu.RUnlock()
	if l.open == nil {
		return nil, storage.ErrNotActive
	}
	return maps.Clone(l.open.records), nil
}

// Compact implements storage.Compacter. It has nothing to do, because a Disk keeps no overwritten data.
func (l *BatchLayer) Compact(ctx context.Context) error {
	if !l.Active() {
		return storage.ErrNotActive
	}
	return ctx.Err()
}

// MarkIncomplete implements storage.IncompleteMarker.
func (l *BatchLayer) MarkIncomplete(reason string) error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if l.open == nil {
		return storage.ErrNotActive
	}
	l.open.incomplete = reason
	return nil
}

// ID implements storage.Identified.
func (l *BatchLayer) ID() (uint64, error) {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if l.open == nil {
		return 0, storage.ErrNotActive
	}
	if l.open.id == 0 {
		l.open.id = rand.Uint64() | 1
	}
	return l.open.id, nil
}
