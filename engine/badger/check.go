package badger

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// Check implements storage.Checker. It verifies the checksums of all tables, then reads every object.
//
// A damaged block of a table makes its content unreadable, and possibly everything after it. It is one report, which
// says between which keys objects may be missing. Reads and writes continue meanwhile. Close ends the check with
// storage.ErrNotActive.
func (l *Layer) Check(ctx context.Context, report func(error)) (objects int, err error) {
	var tables []badger.TableInfo
	var from []byte // the next key; nil at the first
	begun := false
	return enginekit.Check(ctx, report, func() (whole int, found []error, more bool, err error) {
		err = l.life.Use(func(s *store) error {
			if !begun {
				tables, begun = s.db.Tables(), true
			}
			if more = true; len(tables) > 0 {
				wrong, err := s.checkTable(tables[0])
				if tables = tables[1:]; wrong != nil {
					found = append(found, l.life.Wrap("check", wrong))
				}
				return l.life.Wrap("check", err)
			}
			whole, found, from, err = s.checkObjects(from)
			more = from != nil
			return l.life.Wrap("check", err)
		})
		return whole, found, more, err
	})
}

// checkTable returns what is wrong with a table. A table that a compaction has replaced meanwhile is intact.
func (s *store) checkTable(table badger.TableInfo) (wrong, err error) {
	registry, err := openRegistry(s.dir, s.db.Opts().EncryptionKey)
	if err != nil {
		return nil, err
	}
	manifest, err := s.readManifest()
	if err != nil {
		return nil, err
	}
	listed, there := manifest.Tables[table.ID]
	if !there {
		return nil, nil
	}
	if _, wrong = s.verifyTable(table.ID, listed, registry, true); wrong == nil {
		return nil, nil
	}
	if manifest, err = s.readManifest(); err != nil {
		return nil, err
	}
	if _, there := manifest.Tables[table.ID]; !there {
		return nil, nil
	}
	name := func(raw []byte) string {
		raw = y.ParseKey(raw)
		if path, _, err := s.space.Path(raw, nil); err == nil {
			return path
		}
		return string(raw)
	}
	return fmt.Errorf("objects from key %q to key %q may be missing: %w", name(table.Left), name(table.Right), wrong), nil
}

// checkObjects checks the next objects from a key on. It returns how many are intact, what is wrong, and where to
// continue: nil at the end.
func (s *store) checkObjects(from []byte) (whole int, found []error, next []byte, err error) {
	n, size := 0, 0
	err = s.eachObject(from, func(path string, item *badger.Item) (bool, error) {
		if n == enginekit.MaxChunk || size >= enginekit.MaxChunkBytes {
			next = item.KeyCopy(nil)
			return false, nil
		}
		n, size = n+1, size+int(item.EstimatedSize())
		wrong := enginekit.CheckStored(path)
		if wrong == nil {
			wrong = item.Value(func(value []byte) error {
				_, err := enginekit.Decode(path, value)
				return err
			})
		}
		if wrong != nil {
			found = append(found, wrong)
		} else {
			whole++
		}
		return true, s.ended()
	})
	return whole, found, next, err
}
