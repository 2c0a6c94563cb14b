package badger

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// Opening a store read-only.
//
// Badger can open a store read-only by itself if it was closed. If it was not closed, Badger removes tables that are
// not in their list even in read-only mode, and rejects logs that do not end exactly after the last entry. The logs
// of a killed process never do. Such a store is therefore opened through a view: a temporary directory with links to
// its files, and with a copy of each log up to its last complete transaction.
//
// The view does not roll back the rest of a batch of several transactions that a crash left (undo.go): readers see
// the version before it.

// readOptions returns the options that open the store read-only, through a view if necessary.
func (s *store) readOptions(o badger.Options, found inspected) (badger.Options, error) {
	o.ReadOnly = true
	if found.closed() {
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

// removeView removes the view, if there is one.
func (s *store) removeView() error {
	if s.copied == "" {
		return nil
	}
	return os.RemoveAll(s.copied)
}
