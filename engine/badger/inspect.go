package badger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// The look at the files before Badger opens them. It changes nothing.
//
// Badger ends the process over some damage of its files, and passes over other damage in silence:
// see wal.go and table.go. Beyond that it
//
//   - removes all tables that their list, MANIFEST, does not name, and takes a list that was cut for one that ends there;
//   - makes a new list of tables, or of data keys, when MANIFEST or KEYREGISTRY is missing;
//   - cannot open a store after a crash between the making of a log and the giving of its size;
//   - writes to its statistics, DISCARD, through mapped memory as it makes them: on a full disk that
//     ends the process. So they are made here, by writing.

// inspected is what was found.
type inspected struct {
	entries      int64    // roughly
	version      uint64   // the newest that a listed table has
	memTableSize int64    // that the largest log needs to be read back
	logged       int64    // bytes of the logs
	unfinished   []string // files that a crash left in the making
	logs         []logFile
	unlisted     bool // there are tables that the list does not name
}

// logFile is a log of a table in memory.
type logFile struct {
	name    string
	whole   int    // where its last whole transaction ends
	version uint64 // of that
}

const (
	discardFile = "DISCARD"
	discardSize = 1 << 20
)

// inspect looks through the files of the directory, which is locked. Of a store that is made, nothing may be missing.
func (s *store) inspect(key []byte, made bool) (found inspected, err error) {
	files, err := s.listFiles()
	if err != nil {
		return found, err
	}
	found.unfinished = files[unfinished]
	registry, err := openRegistry(s.dir, key)
	if err != nil {
		return found, err
	}
	if registry == nil && made {
		return found, errNoRegistry
	}
	mayMiss := s.options.Durability == DurabilityNoSync
	for _, name := range files[".mem"] {
		log, err := inspectLog(name, registry, mayMiss)
		if err != nil {
			return found, err
		}
		found.entries += log.entries
		found.logged += int64(log.end)
		// A table of some size can take 1.3 times as much.
		found.memTableSize = max(found.memTableSize, log.memory/5*4+leastMemTableSize)
		found.logs = append(found.logs, logFile{name, log.whole, log.version})
	}
	if err := s.inspectTables(&found, files[".sst"], registry, made); err != nil {
		return found, err
	}
	if !made && found.entries > 0 {
		return found, fmt.Errorf("%w: its file %s is missing", errCorrupt, enginekit.FormatFile)
	}
	for _, name := range files[".vlog"] {
		if err := inspectValueLog(name, registry); err != nil {
			return found, err
		}
	}
	return found, nil
}

// prepare makes the directory ready to be opened to write: without what a crash left unfinished, on a disk that
// has room for what Badger writes as it opens, and for the logs, which will be put into tables.
func (s *store) prepare(found inspected) error {
	if err := s.demand(found.logged + startRoom); err != nil {
		return fmt.Errorf("%w, or open it to read only (readonly=on)", err)
	}
	for _, name := range found.unfinished {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return s.prepareDiscard()
}

// unfinished is listed like an extension.
const unfinished = "unfinished"

// listFiles returns the files by their extension, and those that a crash left unfinished.
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
		kind := filepath.Ext(entry.Name())
		if entry.Name() == probeFile || info.Size() == 0 && (kind == ".mem" || kind == ".vlog") {
			kind = unfinished
		}
		files[kind] = append(files[kind], filepath.Join(s.dir, entry.Name()))
	}
	return files, nil
}

// inspectTables verifies the tables that the list names, and sees to it that the list is not older than the
// tables that there are.
func (s *store) inspectTables(found *inspected, names []string, registry *badger.KeyRegistry, made bool) (err error) {
	manifest, err := s.readManifest()
	if errors.Is(err, fs.ErrNotExist) && !made {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the list of tables, %s, is missing", errCorrupt, badger.ManifestFilename)
	}
	if err != nil {
		return fmt.Errorf("%w: the list of tables, %s, cannot be read: %s", errCorrupt, badger.ManifestFilename, enginekit.OneLine(err.Error()))
	}
	var group sync.WaitGroup
	var mu sync.Mutex // guards found and err
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for id, listed := range manifest.Tables {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			table, verifyErr := s.inspectTable(id, listed, registry)
			mu.Lock()
			defer mu.Unlock()
			found.entries += table.entries
			found.version = max(found.version, table.version)
			err = enginekit.FirstError(err, verifyErr)
		})
	}
	group.Wait()
	if err != nil {
		return err
	}
	for _, name := range names {
		id, known := table.ParseFileID(filepath.Base(name))
		if _, listed := manifest.Tables[id]; listed || !known {
			continue
		}
		found.unlisted = true
		if err := s.inspectUnlisted(name, found, registry); err != nil {
			return err
		}
	}
	return nil
}

// inspectUnlisted refuses a table that the list does not name, although nothing else holds what is newest in it. A crash
// leaves tables without a place in the list, but then there is the log that the table was made of, or there are tables in the
// list that it replaces or that replaced it, and have the version of its newest transaction (revisionKey).
func (s *store) inspectUnlisted(name string, found *inspected, registry *badger.KeyRegistry) error {
	if s.options.Durability == DurabilityNoSync {
		return nil // the log may be what the crash lost
	}
	for number := uint64(0); ; number++ { // of the data key, which only the list tells
		dataKey, err := dataKeyOf(registry, number)
		if err != nil {
			return nil // it was not finished
		}
		unlisted, err := verifyTable(name, tableInfo{dataKey: dataKey, compression: options.Snappy}, false)
		if err != nil {
			continue
		}
		ofLog := func(log logFile) bool { return log.version == unlisted.version }
		if unlisted.version <= found.version || slices.ContainsFunc(found.logs, ofLog) {
			return nil
		}
		return fmt.Errorf("%w, %s: the list of tables, %s, is cut short or too old: it does not name table %s", errCorrupt, orWithout,
			badger.ManifestFilename, filepath.Base(name))
	}
}

func (s *store) inspectTable(id uint64, listed badger.TableManifest, registry *badger.KeyRegistry) (tableFound, error) {
	dataKey, err := dataKeyOf(registry, listed.KeyID)
	if err == nil && int(listed.Level) >= badger.DefaultOptions("").MaxLevels {
		err = fmt.Errorf("its level is %d", listed.Level)
	}
	if err != nil {
		return tableFound{}, fmt.Errorf("%w: table %d: %w", errCorrupt, id, err)
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
