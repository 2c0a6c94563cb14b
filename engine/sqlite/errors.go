package sqlite

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	sqlite3 "github.com/ncruces/go-sqlite3"
)

// isNoRoom reports whether a write was not made because there is no room for it. What failed to be
// synced for that reason is not meant: nobody knows what became of it.
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

func isCorrupt(err error) bool {
	var broken *panicError
	return isCode(err, sqlite3.CORRUPT) || isCode(err, sqlite3.NOTADB) || errors.As(err, &broken)
}

// wrap names the file and what was being done; it keeps nil.
func (d *database) wrap(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case isNoRoom(err):
		return fmt.Errorf("sqlite: %s in %s: the disk is full, nothing was written; make room: %w", doing, d.path, err)
	case isCode(err, sqlite3.BUSY):
		return fmt.Errorf("sqlite: %s in %s: another program is writing to the file, nothing was written; end its transaction: %w", doing, d.path, err)
	case isCorrupt(err):
		return fmt.Errorf("sqlite: %s in %s: the file is corrupt, restore it from a backup: %w", doing, d.path, err)
	}
	return fmt.Errorf("sqlite: %s in %s: %w", doing, d.path, err)
}
