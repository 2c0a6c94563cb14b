package badger

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Check implements storage.Checker. It verifies the checksums of all tables, then reads every
// object from one consistent snapshot, then looks at what is there beside objects.
//
// A damaged block of a table takes what is in it along, and may take what is behind it: that is one
// report, which says between which keys objects may be missing. Reads and writes go on meanwhile. A
// Close ends the check with storage.ErrNotActive.
func (l *Layer) Check(ctx context.Context, report func(error)) (objects int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := l.checkTables(ctx, report); err != nil {
		return 0, err
	}
	s, err := l.openScan("")
	if err != nil {
		return 0, err
	}
	defer s.End()
	if objects, err = enginekit.Check(ctx, report, s.check); err != nil {
		return objects, err
	}
	found, err := l.checkRest()
	for _, wrong := range found {
		report(wrong)
	}
	return objects, err
}

// checkRest returns what is wrong with what is no object of this generation or an older one.
func (l *Layer) checkRest() (found []error, err error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return nil, storage.ErrNotActive
	}
	s := l.store
	err = s.guard("check", func() error {
		s.reading.RLock()
		defer s.reading.RUnlock()
		v := s.view.Load()
		txn := s.db.NewTransactionAt(v.version, false)
		defer txn.Discard()
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		_, end := v.objects.Bounds()
		for it.Rewind(); it.Valid(); {
			raw := it.Item().Key()
			if raw[0] == objectKind && bytes.Compare(raw, end) < 0 {
				it.Seek(end)
				continue
			}
			if wrong := s.checkNote(it.Item()); wrong != nil {
				found = append(found, wrong)
			}
			it.Next()
		}
		return nil
	})
	return found, err
}

// checkNote returns what is wrong with a note.
func (s *store) checkNote(item *badger.Item) error {
	raw := item.Key()
	switch {
	case bytes.Equal(raw, revisionKey), bytes.Equal(raw, generationKey), bytes.Equal(raw, partsKey), bytes.Equal(raw, idKey):
		return item.Value(func(value []byte) error {
			_, err := decodeNumber(raw, value)
			return err
		})
	case bytes.Equal(raw, incompleteKey), bytes.HasPrefix(raw, fillerPrefix), bytes.Equal(raw, fillerEnd):
		return nil
	case raw[0] == metaKind:
		return fmt.Errorf("stored key %q is no note that this build knows", raw)
	}
	return fmt.Errorf("stored key %q is not the key of an object of this generation, %d", raw, s.view.Load().generation)
}

// checkTables verifies the tables of now.
func (l *Layer) checkTables(ctx context.Context, report func(error)) error {
	tables, err := l.tables()
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(tables)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		wrong, err := l.checkTable(id)
		if err != nil {
			return err
		}
		if wrong == nil {
			continue
		}
		// A compaction may have replaced it meanwhile.
		now, err := l.tables()
		if err != nil {
			return err
		}
		if _, there := now[id]; there {
			report(wrong)
		}
	}
	return nil
}

// tables returns what the list of tables holds now.
func (l *Layer) tables() (map[uint64]badger.TableManifest, error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return nil, storage.ErrNotActive
	}
	manifest, err := l.store.readManifest()
	return manifest.Tables, l.store.wrap("read the list of tables", err)
}

// checkTable returns what is wrong with a table.
func (l *Layer) checkTable(id uint64) (wrong, err error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return nil, storage.ErrNotActive
	}
	s := l.store
	registry, err := openRegistry(s.dir, s.db.Opts().EncryptionKey)
	if err != nil {
		return nil, s.wrap("check", err)
	}
	manifest, err := s.readManifest()
	if err != nil {
		return nil, s.wrap("check", err)
	}
	listed, there := manifest.Tables[id]
	if !there {
		return nil, nil
	}
	dataKey, err := dataKeyOf(registry, listed.KeyID)
	if err == nil {
		info := tableInfo{dataKey: dataKey, compression: listed.Compression}
		err = s.guard("check", func() error {
			_, err := verifyTable(s.tableName(id), info, true)
			return err
		})
	}
	if err == nil {
		return nil, nil
	}
	return s.wrap("check", fmt.Errorf("objects %smay be missing: %w", s.rangeOf(id), err)), nil
}

// rangeOf says between which keys the entries of a table are.
func (s *store) rangeOf(id uint64) string {
	objects := s.view.Load().objects
	name := func(raw []byte) string {
		raw = y.ParseKey(raw)
		if path, _, err := objects.Path(raw, nil); err == nil {
			return path
		}
		return string(raw)
	}
	for _, table := range s.db.Tables() {
		if table.ID == id {
			return fmt.Sprintf("from key %q to key %q ", name(table.Left), name(table.Right))
		}
	}
	return ""
}

// check checks the next objects and tells whether there are more.
func (s *scan) check() (whole int, found []error, more bool, err error) {
	err = s.use(func() error {
		for n, size := 0, 0; n < enginekit.MaxChunk && size < enginekit.MaxChunkBytes; n++ {
			if !s.move() {
				return nil
			}
			size += int(s.it.Item().EstimatedSize())
			if wrong := s.checkObject(); wrong != nil {
				found = append(found, wrong)
			} else {
				whole++
			}
		}
		more = true
		return nil
	})
	return whole, found, more, err
}

// checkObject checks the object at the iterator's place.
func (s *scan) checkObject() error {
	path, err := s.path()
	if err != nil {
		return err
	}
	if err := enginekit.CheckStored(path); err != nil {
		return err
	}
	_, err = s.decode()
	return err
}
