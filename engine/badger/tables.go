package badger

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/dgraph-io/ristretto/v2/z"
)

// The tables on disk.
//
// When Badger opens a table whose end is damaged, it ends the process, or continues without an error. It treats
// everything after a damaged block as absent, also in a compaction. Therefore Badger's own reader first opens each
// listed table here, where its panics can be caught, and reads it to its end.

// tableFound describes the content of a table.
type tableFound struct {
	entries int64
	version uint64 // the newest
}

// verifyTable opens a table, and reads all of it if requested.
func (s *store) verifyTable(id uint64, listed badger.TableManifest, registry *badger.KeyRegistry, all bool) (found tableFound, err error) {
	name := s.tableName(id)
	key, err := dataKeyOf(registry, listed.KeyID)
	if err == nil && int(listed.Level) >= badger.DefaultOptions("").MaxLevels {
		err = fmt.Errorf("its level is %d", listed.Level)
	}
	if err == nil {
		err = unpanicked(func() error {
			found, err = readTable(name, table.Options{
				ReadOnly: true, ChkMode: options.OnBlockRead, BlockSize: 4096, Compression: listed.Compression, DataKey: key,
			}, all)
			return err
		})
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it is missing")
	}
	if err != nil {
		return found, corrupt("table %s, %w", filepath.Base(name), err)
	}
	return found, nil
}

func readTable(name string, o table.Options, all bool) (found tableFound, err error) {
	if info, err := os.Stat(name); err != nil || info.Size() == 0 {
		return found, cmp.Or(err, errors.New("it is empty"))
	}
	if o.DataKey != nil {
		if o.IndexCache, err = ristretto.NewCache(&ristretto.Config[uint64, *fb.TableIndex]{NumCounters: 10, MaxCost: 1 << 30, BufferItems: 64}); err != nil {
			return found, err
		}
		defer o.IndexCache.Close()
	}
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return found, err
	}
	defer func() { err = cmp.Or(err, file.Close(-1)) }() // the table's Close is the same
	t, err := table.OpenTable(file, o)
	if err != nil {
		return found, err
	}
	found = tableFound{entries: int64(t.KeyCount()), version: t.MaxVersion()}
	if all {
		// The table's VerifyChecksum holds all blocks in memory. An iterator ends at the first damaged block.
		it, n := t.NewIterator(table.NOCACHE), int64(0)
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		if err := it.Close(); err != nil {
			return found, err
		}
		if n != found.entries {
			return found, fmt.Errorf("a block is damaged: %d entries can be read of %d", n, found.entries)
		}
	}
	return found, nil
}

// unpanicked reads data that may be damaged. A panic is then another sign of damage: the code below trusts its input.
func unpanicked(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if value := recover(); value != nil {
			err = errors.New("its content is damaged")
		}
	}()
	return read()
}

func (s *store) tableName(id uint64) string { return filepath.Join(s.dir, fmt.Sprintf("%06d.sst", id)) }

// readManifest reads the list of tables.
func (s *store) readManifest() (badger.Manifest, error) {
	file, err := os.Open(filepath.Join(s.dir, badger.ManifestFilename))
	if err != nil {
		return badger.Manifest{}, err
	}
	manifest, _, err := badger.ReplayManifestFile(file, 0, badger.Options{Logger: logger{s}})
	return manifest, cmp.Or(err, file.Close())
}

// dataKeyOf returns a data key by its number; nil for number 0, which means no encryption.
func dataKeyOf(registry *badger.KeyRegistry, number uint64) (*pb.DataKey, error) {
	if number == 0 {
		return nil, nil
	}
	if registry == nil {
		return nil, fmt.Errorf("it is encrypted with data key %d, and there is no file %s", number, badger.KeyRegistryFileName)
	}
	return registry.DataKey(number)
}
