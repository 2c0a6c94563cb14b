package bbolt

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// formatVersion is the version of the buckets and their content.
const formatVersion = 1

// open opens the file, and creates it if it is missing. After an error it holds nothing.
func open(file string, o Options, options storage.LayerOptions) (*database, error) {
	if file == "" {
		return nil, errors.New("the path of the file is empty")
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.ReadOnly:
		return nil, enginekit.NoStore(err)
	case errors.Is(err, fs.ErrNotExist):
		err = create(file)
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a directory, expected a file; choose a name in it", file)
	case err == nil && info.Size() == 0: // bbolt would fill it
		return nil, errors.New("the file is empty; restore it from a backup, or remove it for a new store")
	}
	if err != nil {
		return nil, err
	}
	// Read-only first: bbolt may write to a file that it opens, and continues with a truncated one.
	db, err := openBolt(file, true)
	if err != nil {
		return nil, err
	}
	if err := inspect(&database{db: db}, options); err != nil || !o.ReadOnly {
		if err = cmp.Or(err, db.Close()); err != nil {
			return nil, err
		}
		if db, err = openBolt(file, false); err != nil {
			return nil, err
		}
	}
	return &database{db: db}, nil
}

// openBolt opens and locks a file.
func openBolt(file string, readOnly bool) (*bolt.DB, error) {
	return enginekit.Locked("the file", func() (db *bolt.DB, err error) {
		var opened *os.File
		defer func() {
			if err != nil && opened != nil && !errors.Is(err, bolterrors.ErrTimeout) {
				_ = opened.Close() // a panic leaves it open, with its lock
				err = fmt.Errorf("it is no bbolt database, or a damaged one; restore it from a backup, or choose another name: %w", err)
			}
		}()
		return db, guarded(func() error {
			db, err = bolt.Open(file, 0o644, &bolt.Options{ReadOnly: readOnly, Timeout: 1, OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
				opened, err = os.OpenFile(name, flag&^os.O_CREATE, perm)
				return opened, err
			}})
			return err
		})
	}, func(err error) enginekit.Holder {
		if errors.Is(err, bolterrors.ErrTimeout) {
			return enginekit.Anywhere
		}
		return enginekit.Nobody
	})
}

// inspect rejects a file that is not a complete store of ours.
func inspect(d *database, options storage.LayerOptions) error {
	return d.view(func(tx *bolt.Tx) error {
		info, err := os.Stat(d.db.Path())
		if err == nil && info.Size() < tx.Size() {
			err = fmt.Errorf("the file is cut short to %d bytes, expected %d; restore it from a backup", info.Size(), tx.Size())
		}
		if err != nil {
			return err
		}
		if tx.Bucket(objects) == nil || tx.Bucket(notes) == nil || number(tx, formatNote) == 0 {
			return errors.New("it is a bbolt database of another program; choose another name")
		}
		if version := number(tx, formatNote); version > formatVersion {
			return fmt.Errorf("its format has version %d, this build knows up to %d; use a newer build", version, formatVersion)
		}
		if reason := tx.Bucket(notes).Get(incompleteNote); reason != nil && !options.AllowIncomplete {
			return enginekit.Incomplete(string(reason))
		}
		return nil
	})
}

// create creates a store atomically. If two are created at the same time, the first one counts.
func create(file string) error {
	if err := enginekit.MakeDir(filepath.Dir(file), enginekit.SyncDir); err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%x.new", file, rand.Uint64())
	defer os.Remove(temporary) // after a crash, the rest does no harm
	db, err := bolt.Open(temporary, 0o644, nil)
	if err != nil {
		return err
	}
	if err := cmp.Or(db.Update(fill), db.Close()); err != nil {
		return err
	}
	if err := os.Link(temporary, file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return enginekit.SyncDir(filepath.Dir(file))
}
