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
	"github.com/oolith-db/oolith/storage/enginekit"
)

// This file reads the manifest, which is the list of the tables, and the logs before
// LevelDB does. LevelDB takes what it cannot read in them for the end that a crash cut
// short: it goes on with the rest, and removes the tables and logs that it then believes to be of
// no use. But what a crash cuts short is the last record, because each was synced before the
// next was written. So a sound record behind a broken one is damage, and refused.
//
// A machine that crashed while a log was written without sync can leave such damage too.

// currentFile names the manifest.
const currentFile = "CURRENT"

// currentForm is what it says. If it says anything else, LevelDB looks for an older copy of
// it, and would go back to what that names.
var currentForm = regexp.MustCompile(`^MANIFEST-[0-9]+\n$`)

// readLogs returns a fingerprint of the manifest and the logs, which changes whenever anyone
// opens the database to write; it is empty when there is none. Damage is a corruption error; the
// fingerprint is there all the same.
//
// Its second part is of their names alone. Whoever opens the database to write makes a log with a new name.
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
		fmt.Fprintln(names, fd) // a hash takes all
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

// checkClosed refuses a database that is not as it was closed, although nobody has opened it since.
func checkClosed(fingerprint, closed string) error {
	_, names, _ := strings.Cut(fingerprint, "-")
	if _, then, found := strings.Cut(closed, "-"); found && names == then && fingerprint != closed {
		return &corruption{errors.New("its log or its list of tables is not as it was when the store was closed, " +
			"and nobody has opened it since")}
	}
	return nil
}

// readFile reads a file to its end.
func readFile(d disk, fd ldbstorage.FileDesc) ([]byte, error) {
	file, err := d.Open(fd)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(file)
	return content, enginekit.FirstError(err, file.Close())
}
