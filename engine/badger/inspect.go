package badger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
)

// The look at the files before Badger opens them.
//
// Badger ends the process over some damage of its files, and passes over other damage in silence:
// see wal.go and table.go. Beyond that it
//
//   - removes all tables when their list, MANIFEST, is missing;
//   - makes a new list of data keys when KEYREGISTRY is missing;
//   - cannot open a store after a crash between the making of a log and the giving of its size;
//   - writes to its statistics, DISCARD, through mapped memory as it makes them: on a full disk that
//     ends the process. So they are made here, by writing.

// inspected is what was found.
type inspected struct {
	entries      int64 // roughly
	memTableSize int64 // that the largest log needs to be read back
}

const (
	discardFile = "DISCARD"
	discardSize = 1 << 20
)

// inspect looks through the files of the directory, which is locked.
func (s *store) inspect(key []byte) (found inspected, err error) {
	files, err := s.listFiles()
	if err != nil {
		return found, err
	}
	registry, err := openRegistry(s.dir, key)
	if err != nil {
		return found, err
	}
	if registry == nil && len(files[".sst"])+len(files[".mem"])+len(files[".vlog"]) > 0 {
		return found, fmt.Errorf("%w: the list of data keys, %s, is missing", errCorrupt, badger.KeyRegistryFileName)
	}
	if found.entries, err = s.inspectTables(registry, len(files[".sst"])); err != nil {
		return found, err
	}
	var logged int64
	for _, name := range files[".mem"] {
		log, err := inspectLog(name, registry, s.options.Durability == DurabilityNoSync)
		if err != nil {
			return found, err
		}
		found.entries += log.entries
		logged += int64(log.end)
		// A table of some size can take 1.3 times as much.
		found.memTableSize = max(found.memTableSize, log.memory/5*4+leastMemTableSize)
	}
	for _, name := range files[".vlog"] {
		if err := inspectValueLog(name, registry); err != nil {
			return found, err
		}
	}
	// What is in the logs will be put into tables. A full store can be opened, to be emptied.
	if err := s.demand(s.options.MinFree/4 + logged); err != nil {
		return found, err
	}
	return found, s.prepareDiscard()
}

// listFiles returns the files by their extension, without what a crash left unfinished: it removes
// that.
func (s *store) listFiles() (map[string][]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]string)
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		name, ext := filepath.Join(s.dir, entry.Name()), filepath.Ext(entry.Name())
		if entry.Name() == probeFile || info.Size() == 0 && (ext == ".mem" || ext == ".vlog") {
			if err := os.Remove(name); err != nil {
				return nil, err
			}
			continue
		}
		files[ext] = append(files[ext], name)
	}
	return files, nil
}

// inspectTables verifies the tables that the list names, and returns how many entries they have.
func (s *store) inspectTables(registry *badger.KeyRegistry, onDisk int) (entries int64, err error) {
	manifest, err := s.readManifest()
	if errors.Is(err, fs.ErrNotExist) {
		if onDisk > 0 {
			return 0, fmt.Errorf("%w: the list of tables, %s, is missing", errCorrupt, badger.ManifestFilename)
		}
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%w: the list of tables cannot be read: %w", errCorrupt, err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex // guards entries and err
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for id, listed := range manifest.Tables {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			n, verifyErr := s.inspectTable(id, listed, registry)
			mu.Lock()
			defer mu.Unlock()
			entries += n
			err = enginekit.FirstError(err, verifyErr)
		})
	}
	group.Wait()
	return entries, err
}

func (s *store) inspectTable(id uint64, listed badger.TableManifest, registry *badger.KeyRegistry) (entries int64, err error) {
	dataKey, err := dataKeyOf(registry, listed.KeyID)
	if err != nil {
		return 0, fmt.Errorf("%w: table %d: %w", errCorrupt, id, err)
	}
	info := tableInfo{dataKey: dataKey, compression: listed.Compression}
	return verifyTable(s.tableName(id), info, !s.options.SkipVerify)
}

// listNames returns the names of the files with an extension.
func (s *store) listNames(ext string) (names []string, err error) {
	entries, err := os.ReadDir(s.dir)
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == ext {
			names = append(names, filepath.Join(s.dir, entry.Name()))
		}
	}
	return names, err
}

func (s *store) tableName(id uint64) string { return filepath.Join(s.dir, fmt.Sprintf("%06d.sst", id)) }

// readManifest reads the list of tables.
func (s *store) readManifest() (badger.Manifest, error) {
	file, err := os.Open(filepath.Join(s.dir, badger.ManifestFilename))
	if err != nil {
		return badger.Manifest{}, err
	}
	manifest, _, err := badger.ReplayManifestFile(file, 0, badger.Options{Logger: logger{s}})
	return manifest, enginekit.FirstError(err, file.Close())
}

// inspectValueLog looks at the header of a file of the value log. Its values have checksums, and
// whoever reads one meets its damage.
func inspectValueLog(name string, registry *badger.KeyRegistry) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	header := make([]byte, logHeaderSize)
	_, err = io.ReadFull(file, header)
	if err == nil {
		_, err = newLogReader(header, registry)
	}
	if err = enginekit.FirstError(err, file.Close()); err != nil {
		return fmt.Errorf("%w: value log %s: %w", errCorrupt, filepath.Base(name), err)
	}
	return nil
}

// prepareDiscard makes the statistics of the value log where they are missing or broken. They only
// tell where garbage collection is worth while.
func (s *store) prepareDiscard() error {
	name := filepath.Join(s.dir, discardFile)
	info, err := os.Stat(name)
	if err == nil && info.Mode().IsRegular() && info.Size() >= discardSize && info.Size()%16 == 0 {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return enginekit.WriteSynced(name, []byte(strings.Repeat("\x00", discardSize)))
}
