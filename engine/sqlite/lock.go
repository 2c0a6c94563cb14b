package sqlite

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// errLocked is the error of lock if the file is locked elsewhere.
var errLocked = errors.New("another has the lock")

// lockFile takes FILE-lock, which excludes other stores and lets other programs read. It is a separate file because
// SQLite's locks on FILE last for one transaction each, and its mode that keeps them would also exclude readers. The
// lock ends with the process, for any reason. The file stays, because removing it could let in two stores at once.
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

// noteProcess records who has the lock. Only the error message of a rejected store uses it.
func noteProcess(file *os.File, log *slog.Logger) {
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if _, err := file.WriteAt([]byte(pid), 0); err != nil {
		log.Debug("sqlite: note the process id", "file", file.Name(), "error", err)
	} else if err := file.Truncate(int64(len(pid))); err != nil {
		log.Debug("sqlite: note the process id", "file", file.Name(), "error", err)
	}
}

// shareFile excludes stores that write, and admits others that read. It creates no file: if there is no lock file, no
// store has the file open.
func shareFile(path string) (*os.File, error) {
	file, err := locked(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return file, err
}

// lockOpen opens a file and locks it, shared if it is opened for reading.
func lockOpen(name string, flags int) (*os.File, error) {
	file, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lock(file, flags == os.O_RDONLY); err != nil {
		if errors.Is(err, errLocked) {
			err = fmt.Errorf("%w%s", err, holder(name))
		}
		return nil, cmp.Or(err, file.Close())
	}
	return file, nil
}

// holder says who has the lock, if that can be read.
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
