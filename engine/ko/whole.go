package ko

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/oolith-db/oolith/engine/internal/levelfiles"
)

// This file checks whether a database is complete before LevelDB opens it. LevelDB continues without a missing log,
// and goes back to an older list of its tables, and writes before it finds out that a table is missing.

// missing returns the error of a database that has lost a file.
func missing(format string, args ...any) error { return &corruption{fmt.Errorf(format, args...)} }

// checkWhole reports whether there is a complete database, or nothing yet; any other state is an error. It changes
// nothing. Of the content of files, it checks only the list of the tables for damage.
//
// A crash during the creation of a database leaves files without a CURRENT, before anything was stored. Such a
// directory is distinguished from a database that has lost its CURRENT by the notes, which are created after the
// database, by the other files, and by the list of the tables, which names no log before the first one is created.
func checkWhole(d disk) (exists bool, err error) {
	files, err := d.Files()
	if err != nil {
		return false, err
	}
	if !hasDatabase(files) {
		for _, note := range []string{revisionFile, incompleteFile} {
			if _, noted := files[note]; noted {
				return false, missing("its file %s is there, and the database beside it is missing", note)
			}
		}
		return false, nil
	}
	current, err := d.ReadNote(currentFile)
	if errors.Is(err, fs.ErrNotExist) {
		half, err := isHalfMade(d, files)
		if err == nil && !half {
			err = missing("its file %s, which names the list of its tables, is missing", currentFile)
		}
		return false, err
	}
	if err != nil {
		return false, err
	}
	if !currentForm.Match(current) {
		return false, missing("its file %s says %.40q, expected the name of a manifest", currentFile, current)
	}
	return true, checkFiles(d, files, string(current[:len(current)-1]))
}

// hasDatabase reports whether there are files of LevelDB.
func hasDatabase(files map[string]int64) bool {
	for name := range files {
		if databaseFiles.MatchString(name) {
			return true
		}
	}
	return false
}

// checkFiles rejects a database in which a file that its manifest names is missing or truncated.
func checkFiles(d disk, files map[string]int64, manifest string) error {
	content, err := d.ReadNote(manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return missing("its list of tables, the file %s, is missing", manifest)
	}
	if err != nil {
		return err
	}
	m, err := readManifest(content)
	if err != nil {
		return missing("its list of tables, the file %s, %w", manifest, err)
	}
	if m.log > 0 && !hasLog(files, m.log) {
		return missing("its log, the file %06d.log or a later one, is missing", m.log)
	}
	for _, number := range slices.Sorted(maps.Keys(m.tables)) {
		name := fmt.Sprintf("%06d.ldb", number)
		size, there := files[name]
		if !there {
			size, there = files[fmt.Sprintf("%06d.sst", number)]
		}
		switch want := m.tables[number]; {
		case !there:
			return missing("its table, the file %s, is missing", name)
		case size != want:
			return missing("its table, the file %s, has %d bytes, expected %d", name, size, want)
		}
	}
	return nil
}

// hasLog reports whether the log with a number, or a later one, exists: LevelDB creates a new log before it removes
// an old one, and lets the list name the old one as long as the new one is empty.
func hasLog(files map[string]int64, number uint64) bool {
	for name := range files {
		if fd, ok := fileNamed(name); ok && fd.Type == ldbstorage.TypeJournal && uint64(fd.Num) >= number {
			return true
		}
	}
	return false
}

// isHalfMade reports whether the creation of a database was interrupted: LevelDB first creates a manifest, then names
// it in CURRENT, then creates a log.
func isHalfMade(d disk, files map[string]int64) (bool, error) {
	if _, noted := files[revisionFile]; noted {
		return false, nil
	}
	for name, size := range files {
		switch {
		case !databaseFiles.MatchString(name):
			continue
		case !halfMade.MatchString(name) || size > maxFirstManifest:
			return false, nil
		}
		content, err := d.ReadNote(name)
		if err != nil {
			return false, err
		}
		if m, err := readManifest(content); err == nil && m.log > 0 {
			return false, nil
		}
	}
	return true, nil
}

// removeHalfMade removes the rest of a database whose creation was interrupted. LevelDB would treat it as corrupt.
func removeHalfMade(d disk) error {
	files, err := d.Files()
	if err != nil {
		return err
	}
	for name := range files {
		if halfMade.MatchString(name) {
			if err := d.RemoveNote(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// manifest is the content of LevelDB's list of its files.
type manifest struct {
	log    uint64           // the number of the oldest log that is not in tables; 0 before the first
	tables map[uint64]int64 // the sizes of the tables by their numbers
}

// errList reports a manifest without any readable record.
var errList = errors.New("is damaged at byte 0")

// The tags of the fields of a record of a manifest. All fields are numbers, except the comparer, which is a string.
const (
	tagComparer     = 1
	tagLog          = 2
	tagNextFile     = 3
	tagSequence     = 4
	tagCompactPoint = 5 // a level, a string
	tagDeletedTable = 6 // a level, a number
	tagNewTable     = 7 // a level, a number, a size, two strings
	tagPreviousLog  = 9
)

// readManifest reads a manifest up to the first incomplete record.
func readManifest(content []byte) (manifest, error) {
	m := manifest{tables: map[uint64]int64{}}
	var broken error
	end := levelfiles.ManifestRecords(content, func(record []byte) {
		if err := m.add(record); err != nil && broken == nil {
			broken = err
		}
	})
	if end == 0 {
		return m, errList
	}
	return m, broken
}

// add adds the content of a record.
func (m *manifest) add(record []byte) error {
	f := fields{rest: record}
	for len(f.rest) > 0 && !f.broken {
		switch tag := f.number(); tag {
		case tagComparer:
			f.text()
		case tagLog:
			m.log = f.number()
		case tagNextFile, tagSequence, tagPreviousLog:
			f.number()
		case tagCompactPoint:
			f.number()
			f.text()
		case tagDeletedTable:
			f.number()
			delete(m.tables, f.number())
		case tagNewTable:
			f.number()
			number := f.number()
			m.tables[number] = int64(f.number())
			f.text()
			f.text()
		default:
			f.broken = true
		}
	}
	if f.broken {
		return errors.New("has a record that makes no sense")
	}
	return nil
}

// fields reads the fields of a record.
type fields struct {
	rest   []byte
	broken bool
}

func (f *fields) number() uint64 {
	value, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.broken, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[n:]
	return value
}

func (f *fields) text() {
	length := f.number()
	if length > uint64(len(f.rest)) {
		f.broken, f.rest = true, nil
		return
	}
	f.rest = f.rest[length:]
}
