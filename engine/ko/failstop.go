package ko

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// failstop is a layer between LevelDB and the disk. After the first write, sync or creation that fails, it writes
// nothing more.
//
// LevelDB continues after such an error. A failed sync of the log leaves the record in the log, and the next record
// gets the same sequence number; a failed sync of the manifest is retried on the same file. But after a failed sync
// no later sync can be trusted: the kernel drops the dirty pages and reports the error once. The first failure is
// therefore recorded, and from then on everything that would change the directory returns it. Removals are the
// exception: they only report success, because a file that stays is garbage without damage.
//
// failstop also adds what LevelDB omits. A new table is made durable together with its entry in the directory. A new
// log has its entry before anything names it (see checkFiles). A log that was written without sync is synced before
// the next one follows it.
type failstop struct {
	disk
	logger *slog.Logger

	// lock guards the fields below. It is never held during a call of the disk.
	lock  sync.Mutex
	cause error // the first failure; nil if there was none
	// lenient lets LevelDB leave out what it cannot read, as in a recovery. Its messages about that are kept in
	// lines.
	lenient bool
	lines   []string
}

func newFailstop(d disk, logger *slog.Logger) *failstop {
	return &failstop{disk: d, logger: logger}
}

// failure returns the first failure, or nil.
func (f *failstop) failure() error {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.cause
}

// fail records the first failure and returns it.
func (f *failstop) fail(err error) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.cause == nil {
		f.cause = err
	}
	return f.cause
}

// mutate changes the directory, unless an earlier change failed.
func (f *failstop) mutate(change func() error) error {
	if err := f.failure(); err != nil {
		return err
	}
	if err := change(); err != nil {
		return f.fail(err)
	}
	return nil
}

// maxLines limits the number of messages kept of a recovery.
const maxLines = 100

// errSkipped reports a part of a log that LevelDB has left out although its checksum is correct.
var errSkipped = errors.New("a log or the manifest has a record that makes no sense")

// Log implements storage.Storage. LevelDB reports some losses only here: a record with a correct checksum that it
// does not understand is "(skipped)". The message comes before LevelDB removes the log, which must not happen.
func (f *failstop) Log(line string) {
	if f.logger.Enabled(context.Background(), slog.LevelDebug) {
		f.logger.Debug(enginekit.OneLine("ko: " + line))
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	switch {
	case f.lenient && isLoss(line):
		if len(f.lines) < maxLines {
			f.lines = append(f.lines, enginekit.OneLine(line))
		}
	case !f.lenient && strings.Contains(line, "(skipped)") && f.cause == nil:
		f.cause = &corruption{errSkipped}
	}
}

// isLoss reports whether a message of LevelDB is about what a recovery found and dropped.
func isLoss(line string) bool {
	return strings.HasPrefix(line, "table@recovery") || strings.HasPrefix(line, "journal@drop") ||
		strings.Contains(line, "(skipped)")
}

// Create implements storage.Storage.
func (f *failstop) Create(fd ldbstorage.FileDesc) (ldbstorage.Writer, error) {
	var file ldbstorage.Writer
	err := f.mutate(func() (err error) {
		file, err = f.disk.Create(fd)
		return err
	})
	if err != nil {
		return nil, err
	}
	journal := fd.Type == ldbstorage.TypeJournal
	if journal {
		if err := f.SyncDir(); err != nil {
			return nil, cmp.Or(err, file.Close())
		}
	}
	return &failstopFile{Writer: file, disk: f, journal: journal, entered: journal}, nil
}

// SetMeta implements storage.Storage.
func (f *failstop) SetMeta(fd ldbstorage.FileDesc) error {
	return f.mutate(func() error { return f.disk.SetMeta(fd) })
}

// Rename implements storage.Storage.
func (f *failstop) Rename(oldfd, newfd ldbstorage.FileDesc) error {
	return f.mutate(func() error { return f.disk.Rename(oldfd, newfd) })
}

// Remove implements storage.Storage. LevelDB repeats the removal at the next start.
func (f *failstop) Remove(fd ldbstorage.FileDesc) error {
	if f.failure() != nil {
		return nil
	}
	if err := f.disk.Remove(fd); err != nil {
		f.logger.Debug("ko: remove", "file", fd.String(), "error", err)
	}
	return nil
}

// SyncDir implements disk.
func (f *failstop) SyncDir() error { return f.mutate(f.disk.SyncDir) }

// WriteNote implements disk.
func (f *failstop) WriteNote(name string, content []byte) error {
	return f.mutate(func() error { return f.disk.WriteNote(name, content) })
}

// RemoveNote implements disk.
func (f *failstop) RemoveNote(name string) error {
	return f.mutate(func() error { return f.disk.RemoveNote(name) })
}

// failstopFile is a file that is open for writing. LevelDB uses it from one goroutine at a time.
type failstopFile struct {
	ldbstorage.Writer
	disk    *failstop
	journal bool

	unsynced bool // it was written since the last sync
	entered  bool // its entry in the directory is durable
}

// Write implements storage.Writer.
func (f *failstopFile) Write(p []byte) (n int, err error) {
	f.unsynced = true
	err = f.disk.mutate(func() error {
		n, err = f.Writer.Write(p)
		return err
	})
	return n, err
}

// Sync implements storage.Writer.
func (f *failstopFile) Sync() error {
	if err := f.disk.mutate(f.Writer.Sync); err != nil {
		return err
	}
	f.unsynced = false
	if f.entered {
		return nil
	}
	if err := f.disk.SyncDir(); err != nil {
		return err
	}
	f.entered = true
	return nil
}

// Close implements storage.Writer. Some file systems report a failed write only here.
func (f *failstopFile) Close() error {
	var err error
	if f.journal && f.unsynced {
		err = f.Sync()
	}
	if closeErr := f.Writer.Close(); closeErr != nil && f.disk.failure() == nil {
		err = f.disk.fail(closeErr)
	}
	return err
}
