package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
)

// errLocked is what lockExclusively returns when another has the lock.
var errLocked = errors.New("the file is in use by another process or by another store of this one; close that first")

// lockFile takes FILE-lock, which keeps other stores away and lets other programs read. It is a
// file of its own because SQLite's locks on FILE are for one transaction each, and its mode that
// keeps them would shut out readers too. The lock goes with the process, however that ends; the
// file stays, since to remove it could let in two at once.
func lockFile(path string, log *slog.Logger) (*os.File, error) {
	name := path + lockSuffix
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockExclusively(file); err != nil {
		if errors.Is(err, errLocked) {
			err = fmt.Errorf("%w%s", err, holder(name))
		}
		return nil, enginekit.FirstError(err, file.Close())
	}
	// Only for the message of whoever is refused.
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if _, err := file.WriteAt([]byte(pid), 0); err != nil {
		log.Debug("sqlite: note the process id", "file", name, "error", err)
	} else if err := file.Truncate(int64(len(pid))); err != nil {
		log.Debug("sqlite: note the process id", "file", name, "error", err)
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
