package badger

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// A store that is opened to read only.
//
// Badger can do that by itself with a store that was closed. Of one that was not, it removes tables that are not in
// their list, also then, and refuses logs that do not end with what was written, as those of a process that was killed
// never do. So such a store is opened by way of a view: a temporary directory with links to its files, and with a copy
// of each log up to its last whole transaction.
//
// What a crash left of a batch of several transactions is not taken back (undo.go): readers see the version before it.

// readOptions returns the options to open the store to read only, by way of a view if need be.
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

// removeView removes what was made to read the store, if anything.
func (s *store) removeView() error {
	if s.copied == "" {
		return nil
	}
	return os.RemoveAll(s.copied)
}
