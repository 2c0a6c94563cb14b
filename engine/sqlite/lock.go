package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// errLocked is what lock returns when another has the lock.
var errLocked = errors.New("another has the lock")

// lockFile takes FILE-lock, which keeps other stores away and lets other programs read. It is a
// file of its own because SQLite's locks on FILE are for one transaction each, and its mode that
// keeps them would shut out readers too. The lock goes with the process, however that ends; the
// file stays, since to remove it could let in two at once.
func lockFile(path string) (*os.File, error) { return locked(path, os.O_RDWR|os.O_CREATE) }

// locked opens and locks FILE-lock.
func locked(path string, flags int) (*os.File, error) {
	return enginekit.Locked("the file", func() (*os.File, error) { return lockOpen(path+lockSuffix, flags) },
		func(err error) enginekit.Holder {
			if errors.Is(err, errLocked) {
				return enginekit.Anywhere
			}
			return enginekit.Nobody
		})
}

// noteProcess notes who has the lock, only for the message of whoever is refused.
func noteProcess(file *os.File, log *slog.Logger) {
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if _, err := file.WriteAt([]byte(pid), 0); err != nil {
		log.Debug("sqlite: note the process id", "file", file.Name(), "error", err)
	} else if err := file.Truncate(int64(len(pid))); err != nil {
		log.Debug("sqlite: note the process id", "file", file.Name(), "error", err)
	}
}

// shareFile keeps stores that write away, and lets in others that read. It makes no file: where there is
// none to lock, no store has the file open.
func shareFile(path string) (*os.File, error) {
	file, err := locked(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return file, err
}

// lockOpen opens a file and locks it: shared, if it is opened to read.
func lockOpen(name string, flags int) (*os.File, error) {
	file, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lock(file, flags == os.O_RDONLY); err != nil {
		if errors.Is(err, errLocked) {
			err = fmt.Errorf("%w%s", err, holder(name))
		}
		return nil, enginekit.FirstError(err, file.Close())
	}
	return file, nil
}

// holder says who has the lock, as far as that can be read.
func holder(name string) string {
	content, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}
