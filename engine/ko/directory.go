package ko

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/syndtr/goleveldb/leveldb"
	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/oolith-db/oolith/engine/internal/filelock"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// prepareDir creates the directory with its parents, each of them durable, unless the layer is read-only, and returns
// its canonical name. The directory must hold a LevelDB database or nothing. This is checked before LevelDB opens it,
// because LevelDB creates files at once.
func prepareDir(dir string, readOnly bool) (real string, err error) {
	if readOnly {
		real, err = enginekit.FindDir(dir)
	} else {
		real, err = enginekit.PrepareDir(dir, syncDir)
	}
	if err != nil {
		return "", err
	}
	return real, checkContent(real)
}

var (
	// databaseFiles are files of a LevelDB database. Other software also uses these names; see foreignFiles.
	databaseFiles = regexp.MustCompile(`^(CURRENT(\.bak|\.[0-9]+)?|MANIFEST-[0-9]+|[0-9]+\.(log|ldb|sst|tmp))$`)
	// otherFiles are files that a directory without a database may hold: files that LevelDB leaves after a failed
	// creation, our notes, and the entries of the root of a file system.
	otherFiles = regexp.MustCompile(`^(LOCK|LOG|LOG\.old|OOLITH-[A-Z]+(\.new)?|lost\+found)$`)
	// foreignFiles are files that only other stores have: FORMAT belongs to other engines of this project, the rest
	// to Pebble, RocksDB and Badger.
	foreignFiles = regexp.MustCompile(`^(FORMAT|OPTIONS-[0-9]+|marker\..*|IDENTITY|MANIFEST|KEYREGISTRY|.*\.vlog)$`)
)

// isDatabase reports whether a directory has a LevelDB database and no file that only other stores have.
func isDatabase(dir string) (bool, error) {
	is, err := enginekit.Begins(filepath.Join(dir, "CURRENT"), "MANIFEST-")
	if err != nil || !is {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		is = is && !foreignFiles.MatchString(entry.Name())
	}
	return is, err
}

// checkContent rejects a directory of something else.
func checkContent(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	database, stray := false, ""
	for _, entry := range entries {
		switch name := entry.Name(); {
		case foreignFiles.MatchString(name):
			return fmt.Errorf("it holds a store of another kind (file %s%s); open that with its own engine, "+
				"or choose an empty or new directory", name, firstLine(filepath.Join(dir, name)))
		case databaseFiles.MatchString(name):
			database = true
		case !otherFiles.MatchString(name):
			stray = name
		}
	}
	if stray != "" && !database {
		return fmt.Errorf("it holds files (%s) but no LevelDB database; choose an empty or new directory", stray)
	}
	return nil
}

// halfMade are the files of a database whose creation was interrupted; see isHalfMade.
var halfMade = regexp.MustCompile(`^(CURRENT\.[0-9]+|MANIFEST-[0-9]+)$`)

// maxFirstManifest exceeds the size in bytes of the first manifest of a database.
const maxFirstManifest = 1 << 10

// firstLine returns the content of the file FORMAT, for a message; empty for other files.
func firstLine(name string) string {
	if filepath.Base(name) != "FORMAT" {
		return ""
	}
	file, err := os.Open(name)
	if err != nil {
		return ""
	}
	content, err := io.ReadAll(io.LimitReader(file, 80))
	if err = cmp.Or(err, file.Close()); err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return fmt.Sprintf(", which says %q", line)
}

// opened opens and locks a directory with one of the available functions.
func opened(open func(dir string) (disk, error), dir string) (disk, error) {
	return enginekit.Locked("the directory", func() (disk, error) { return open(dir) }, lockHolder)
}

// lockHolder reports who has the directory's lock.
func lockHolder(err error) enginekit.Holder {
	switch {
	case errors.Is(err, ldbstorage.ErrLocked):
		return enginekit.Here
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, filelock.ErrHeld):
		return enginekit.Anywhere
	}
	return enginekit.Nobody
}

// explain adds advice to an error.
func explain(err error) error {
	switch {
	case isForeign(err):
		return fmt.Errorf("it holds a LevelDB database of other software, %w; choose an empty or new directory", err)
	case isCorrupt(err):
		return fmt.Errorf("the store is corrupt, %w; restore it from a backup, or open it with recover=on to keep what is readable", err)
	}
	return err
}

// isForeign reports whether a database has its keys in another order than byte order.
func isForeign(err error) bool {
	var content *lerrors.ErrCorrupted
	if !errors.As(err, &content) {
		return false
	}
	manifest, ok := content.Err.(*leveldb.ErrManifestCorrupted)
	return ok && manifest.Field == "comparer" && strings.HasPrefix(manifest.Reason, "mismatch")
}

// corruption is damage that LevelDB does not report itself.
type corruption struct{ error }

func (c *corruption) Unwrap() error { return c.error }

// isCorrupt reports whether an error is about damaged files, as opposed to the disk or the directory.
func isCorrupt(err error) bool {
	var (
		ours    *corruption
		files   *ldbstorage.ErrCorrupted
		content *lerrors.ErrCorrupted
	)
	return !isForeign(err) && (errors.As(err, &ours) || errors.As(err, &files) || errors.As(err, &content))
}
