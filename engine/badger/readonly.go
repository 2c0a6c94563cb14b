package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage"
)

// A store that is opened to read only.
//
// Badger can do that by itself with a store that was closed. Of one that was not, it removes tables that are not in
// their list, also then, and refuses logs that do not end with what was written, as those of a process that was killed
// never do. So such a store is opened by way of a view: a temporary directory with links to its files, and with a copy
// of each log up to its last whole transaction.
//
// What a crash left of a batch of several transactions is not taken back (undo.go): readers see the version
// before it.

func (s *store) readOnlyError() error {
	return fmt.Errorf("badger: %s: %w", s.dir, storage.ErrReadOnly)
}

// existing returns the one true name of a directory that is there.
func existing(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("the path of the directory is empty")
	}
	absolute, err := filepath.Abs(dir)
	if err == nil {
		absolute, err = filepath.EvalSymlinks(absolute)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no store to read: %w", err)
	}
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(absolute); err == nil && !info.IsDir() {
		return "", fmt.Errorf("%s is a file, expected a directory", absolute)
	}
	return absolute, nil
}

// readOptions returns the options to open the store to read only, by way of a view if need be.
func (s *store) readOptions(o badger.Options, found inspected) (badger.Options, error) {
	o.ReadOnly = true
	if len(found.logs)+len(found.unfinished) == 0 && !found.unlisted {
		return o, nil
	}
	view, err := os.MkdirTemp("", "oolith-badger-")
	if err == nil {
		s.copied = view
		err = s.makeView(view, found)
	}
	if err != nil {
		return o, fmt.Errorf("the store was not closed, so that its logs have to be copied into the directory for temporary files; "+
			"name one that can be written (TMPDIR), or open the store once to write: %w", err)
	}
	o.Dir, o.ValueDir = view, view
	return o, nil
}

func (s *store) makeView(view string, found inspected) error {
	files, err := s.listFiles()
	if err != nil {
		return err
	}
	manifest, err := s.readManifest()
	if err != nil {
		return err
	}
	names := append(files[".vlog"], filepath.Join(s.dir, badger.ManifestFilename), filepath.Join(s.dir, badger.KeyRegistryFileName))
	for id := range manifest.Tables {
		names = append(names, s.tableName(id))
	}
	for _, name := range names {
		if err := os.Symlink(name, filepath.Join(view, filepath.Base(name))); err != nil {
			return err
		}
	}
	for _, log := range found.logs {
		if log.whole == logHeaderSize {
			continue // Badger would remove it
		}
		content, err := os.ReadFile(log.name)
		if err == nil {
			err = os.WriteFile(filepath.Join(view, filepath.Base(log.name)), content[:log.whole], 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeView removes what was made to read the store, if anything.
func (s *store) removeView() error {
	if s.copied == "" {
		return nil
	}
	return os.RemoveAll(s.copied)
}

// readID returns what tells the store from others: a number that is not kept, when it has none yet.
func (l *Layer) readID() (id uint64, err error) {
	l.life.RLock()
	defer l.life.RUnlock()
	if l.store == nil {
		return 0, storage.ErrNotActive
	}
	id, err = l.store.note(idKey, l.store.version)
	if err == nil && id == 0 {
		id = rand.Uint64() | 1
	}
	return id, l.store.wrap("read the store's id", err)
}
