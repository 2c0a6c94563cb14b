package ko

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/oolith-db/oolith/engine/internal/levelfiles"
)

// This file reads the manifest, the list of the tables, and the logs before LevelDB does. LevelDB treats unreadable
// records in them as the end that a crash cut short: it continues with the rest, and removes the tables and logs that
// then seem unused. But a crash cuts only the last record short, because each record was synced before the next was
// written. A valid record after a broken one is therefore damage, and is rejected.
//
// A machine that crashed while a log was written without sync can leave such damage too.

// currentFile names the manifest.
const currentFile = "CURRENT"

// currentForm is the form of its content. If the content differs, LevelDB looks for an older copy of the file, and
// would go back to the manifest named there.
var currentForm = regexp.MustCompile(`^MANIFEST-[0-9]+\n$`)

// readLogs returns a fingerprint of the manifest and the logs, which changes whenever anyone opens the database for
// writing; it is empty if there is no database. Damage is a corruption error; the fingerprint is returned
// nevertheless.
//
// The second part of the fingerprint is only of the names. Opening the database for writing always creates a log with
// a new name.
func readLogs(d disk) (fingerprint string, err error) {
	manifest, err := d.GetMeta()
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	logs, err := d.List(ldbstorage.TypeJournal)
	if err != nil {
		return "", err
	}
	slices.SortFunc(logs, func(a, b ldbstorage.FileDesc) int { return cmp.Compare(a.Num, b.Num) })
	sum, names := sha256.New(), sha256.New()
	var damaged error
	for _, fd := range append([]ldbstorage.FileDesc{manifest}, logs...) {
		fmt.Fprintln(names, fd) // a write to a hash never fails
		fmt.Fprintln(sum, fd)
		content, err := readFile(d, fd)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", fd, err)
		}
		sum.Write(content)
		if at := levelfiles.Damage(content); at >= 0 && damaged == nil {
			damaged = &corruption{fmt.Errorf("its file %s is damaged at byte %d", fd, at)}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]) + "-" + hex.EncodeToString(names.Sum(nil)[:8]), damaged
}

// checkClosed rejects a database that differs from its closed state, although nobody has opened it since.
func checkClosed(fingerprint, closed string) error {
	_, names, _ := strings.Cut(fingerprint, "-")
	if _, then, found := strings.Cut(closed, "-"); found && names == then && fingerprint != closed {
		return &corruption{errors.New("its log or its list of tables is not as it was when the store was closed, " +
			"and nobody has opened it since")}
	}
	return nil
}

// readFile reads a whole file.
func readFile(d disk, fd ldbstorage.FileDesc) ([]byte, error) {
	file, err := d.Open(fd)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(file)
	return content, cmp.Or(err, file.Close())
}
