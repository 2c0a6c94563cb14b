package sqlite

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	sqlite3 "github.com/ncruces/go-sqlite3"
)

// isNoRoom reports whether a write was not made because there is no space for it. A sync that fails for this reason
// does not count: its outcome is unknown.
func isNoRoom(err error) bool {
	if isCode(err, sqlite3.FULL) {
		return true
	}
	if !slices.ContainsFunc(noRoom, func(cause error) bool { return errors.Is(err, cause) }) {
		return false
	}
	var code sqlite3.ExtendedErrorCode
	return !errors.As(err, &code) || code == sqlite3.IOERR_WRITE
}

func isReadOnly(err error) bool {
	return errors.Is(err, syscall.EROFS) || isCode(err, sqlite3.READONLY)
}

// isCorrupt reports whether SQLite found damage. A panic in its code (panicError) is no sign of it.
func isCorrupt(err error) bool {
	return isCode(err, sqlite3.CORRUPT) || isCode(err, sqlite3.NOTADB)
}

// isNoMemory reports whether an allocation failed: in the operating system, or because of the limit of the
// connection. The driver has no name for its panic.
func isNoMemory(err error) bool {
	var broken *panicError
	return isCode(err, sqlite3.NOMEM) || errors.Is(err, syscall.ENOMEM) ||
		errors.As(err, &broken) && strings.HasSuffix(broken.cause.Error(), "out of memory")
}

// moreMemory is the advice for it.
const moreMemory = "out of memory; make some free, or raise the limit of the process (ulimit -v): each connection to a " +
	"file reserves some GiB of addresses"

// wrap names the file and the operation; it keeps nil.
func (d *database) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlite: %s in %s: %w", doing, d.path, explain(err))
}
