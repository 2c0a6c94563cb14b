package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/oolith-db/oolith/engine/internal/filelock"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// lockFile takes FILE-lock, which excludes other stores and lets other programs read. It is a separate file because
// SQLite's locks on FILE last for one transaction each, and its mode that keeps them would also exclude readers. The
// lock ends with the process, for any reason. The file stays, because removing it could let in two stores at once.
func lockFile(path string) (*os.File, error) { return locked(path, os.O_RDWR|os.O_CREATE) }

// locked opens and locks FILE-lock.
func locked(path string, flags int) (*os.File, error) {
	name := path + lockSuffix
	try := func() (*os.File, error) {
		file, err := filelock.Open(name, flags)
		if errors.Is(err, filelock.ErrHeld) {
			err = fmt.Errorf("%w%s", err, holder(name))
		}
		return file, err
	}
	return enginekit.Locked("the file", try,
		func(err error) enginekit.Holder {
			if errors.Is(err, filelock.ErrHeld) {
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
