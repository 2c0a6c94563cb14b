package badger

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// The inspection of the files before Badger opens them. It changes nothing.
//
// Badger ends the process on some damage of its files, and silently ignores other damage: see mark.go, tables.go and
// wal.go. In addition, Badger
//
//   - removes all tables that their list, MANIFEST, does not name;
//   - creates a new list of tables, or of data keys, if MANIFEST or KEYREGISTRY is missing;
//   - cannot open a store after a crash between the creation of a log and the setting of its size;
//   - writes its statistics, DISCARD, to mapped memory, which ends the process on a full disk, and also ends it if
//     the file cannot be opened.

// errCorrupt is the error of all damage of files found before Badger opens them.
var errCorrupt = errors.New("the store is corrupt")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w, %w; restore it from a backup", errCorrupt, fmt.Errorf(format, args...))
}

// inspected is the result of the inspection.
type inspected struct {
	entries      int64    // approximate
	version      uint64   // the newest version in the tables
	memTableSize int64    // needed to replay the largest log
	logged       int64    // bytes in the logs
	unfinished   []string // files that a crash left incomplete
	logs         []logFile
	unlisted     bool // there are tables that are not in the list
}

// closed reports whether the store was closed cleanly.
func (f inspected) closed() bool { return len(f.logs)+len(f.unfinished) == 0 && !f.unlisted }

// inspect inspects the files of the locked directory. In an existing store, no file may be missing.
func (s *store) inspect(key []byte, state state) (found inspected, err error) {
	files, err := s.listFiles()
	if err != nil {
		return found, err
	}
	found.unfinished = files[unfinished]
	registry, err := openRegistry(s.dir, key)
	if err != nil {
		return found, err
	}
	if registry == nil && state != inTheMaking {
		return found, errNoRegistry
	}
	for _, name := range files[".mem"] {
		log, err := readLog(name, registry)
		if err != nil {
			return found, err
		}
		found.logs = append(found.logs, log)
		found.entries += log.entries
		found.logged += int64(log.whole)
		// A memtable of a given size can take 1.3 times as much.
		found.memTableSize = max(found.memTableSize, log.memory/5*4+leastMemTableSize)
	}
	if err := s.inspectTables(&found, files[".sst"], registry, state); err != nil {
		return found, err
	}
	for _, name := range files[".vlog"] {
		if err := inspectValueLog(name, registry); err != nil {
			return found, err
		}
	}
	switch {
	case state == inTheMaking && found.entries > 0:
		return found, corrupt("its file %s is missing", enginekit.FormatFile)
	case state == older && !found.closed():
		return found, errors.New("the store was not closed by the build that made it, which knew no mark of its last write; " +
			"open it once more with that build and close it, then it is opened here")
	case state == current && s.options.Durability == DurabilitySync:
		return found, s.compareMark(found)
	}
	return found, nil
}

// compareMark rejects a store in which a transaction up to the mark is missing: the logs have all transactions after
// those in the tables.
func (s *store) compareMark(found inspected) error {
	marked, err := readMark(s.dir)
	if err != nil {
		return err
	}
	slices.SortFunc(found.logs, func(a, b logFile) int { return cmp.Compare(a.first, b.first) })
	last := found.version
	for _, log := range found.logs {
		if log.first <= last+1 {
			last = max(last, log.version)
		}
	}
	if last >= marked {
		return nil
	}
	return withoutNewest("its files have all transactions up to %d, expected %d, so a log is lost or damaged, or the list of tables, %s, is cut short or too old",
		last, marked, badger.ManifestFilename)
}

// prepare prepares the directory for writing. It removes what a crash left unfinished. It checks that the disk has
// space for what Badger writes when it opens, and for the logs, which will be flushed to tables.
func (s *store) prepare(found inspected, state state) (err error) {
	if err := s.demand(found.logged + startRoom); err != nil {
		return fmt.Errorf("%w, or open it to read only (readonly=on)", err)
	}
	for _, name := range found.unfinished {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	if err := s.prepareDiscard(); err != nil {
		return err
	}
	if state == inTheMaking {
		err = cmp.Or(enginekit.WriteSynced(filepath.Join(s.dir, newFormat), []byte(formatLine)), enginekit.SyncDir(s.dir))
	}
	if err == nil && (state != current || s.options.Durability == DurabilityNoSync) {
		err = resetMark(s.dir)
	}
	if err == nil && state == older {
		err = endFormat(s.dir)
	}
	return cmp.Or(err, s.openMark())
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

// inspectTables verifies the tables that the list names.
func (s *store) inspectTables(found *inspected, names []string, registry *badger.KeyRegistry, state state) error {
	manifest, err := s.readManifest()
	if errors.Is(err, fs.ErrNotExist) {
		if state == inTheMaking {
			return nil
		}
		return corrupt("the list of tables, %s, is missing", badger.ManifestFilename)
	}
	if err != nil {
		return corrupt("the list of tables, %s, cannot be read, %s", badger.ManifestFilename, enginekit.OneLine(err.Error()))
	}
	var group sync.WaitGroup
	var mu sync.Mutex // guards found and err
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	known := make(map[string]bool, len(manifest.Tables))
	for id, listed := range manifest.Tables {
		known[s.tableName(id)] = true
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			table, wrong := s.verifyTable(id, listed, registry, !s.options.SkipVerify)
			mu.Lock()
			defer mu.Unlock()
			found.entries += table.entries
			found.version = max(found.version, table.version)
			err = cmp.Or(err, wrong)
		})
	}
	group.Wait()
	found.unlisted = slices.ContainsFunc(names, func(name string) bool { return !known[name] })
	return err
}

// inspectValueLog checks the header of a file of the value log. Stores of format version 1 have values there, with
// checksums: reading a damaged one fails.
func inspectValueLog(name string, registry *badger.KeyRegistry) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	header := make([]byte, logHeaderSize)
	n, err := io.ReadFull(file, header)
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		_, err = logKey(header[:n], registry)
	}
	if err = cmp.Or(err, file.Close()); err != nil {
		return corrupt("value log %s, %w", filepath.Base(name), err)
	}
	return nil
}

// prepareDiscard creates the statistics of the value log if they are missing, and ensures that they can be opened.
func (s *store) prepareDiscard() error {
	file, err := os.OpenFile(filepath.Join(s.dir, "DISCARD"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.Size() == 0 {
		_, err = file.Write(make([]byte, 1<<20))
	}
	return cmp.Or(err, file.Close())
}
