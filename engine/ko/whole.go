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

// This file looks whether all of a database is there before LevelDB opens it. LevelDB goes on without a log, and
// back to an older list of its tables, and writes before it finds out that a table is missing.

// missing is the error of a database without a file that it had.
func missing(format string, args ...any) error { return &corruption{fmt.Errorf(format, args...)} }

// checkWhole says whether there is a database, all of which is there, or nothing yet; anything else is an error. It
// changes nothing. What is damaged in the files it leaves to others, but for the list of the tables.
//
// A crash in the making of a database leaves files without a CURRENT, and nothing was stored then: it is told from
// a database that has lost its CURRENT by the notes, which are made after the database, by the other files,
// and by the list of the tables, which names no log before the first is made.
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

// hasDatabase tells whether there are files of LevelDB's.
func hasDatabase(files map[string]int64) bool {
	for name := range files {
		if databaseFiles.MatchString(name) {
			return true
		}
	}
	return false
}

// checkFiles refuses a database without a file that its manifest names, or with a part of one.
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

// hasLog tells whether there is the log with a number, or a later one: LevelDB makes a new log before it removes an
// old one, and lets the list name the old one as long as there is nothing in the new one.
func hasLog(files map[string]int64, number uint64) bool {
	for name := range files {
		if fd, ok := fileNamed(name); ok && fd.Type == ldbstorage.TypeJournal && uint64(fd.Num) >= number {
			return true
		}
	}
	return false
}

// isHalfMade tells whether the making of a database was cut off: LevelDB makes a manifest first, then names it
// in CURRENT, then makes a log.
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

// removeHalfMade takes away what is left of a database whose making was cut off, which LevelDB would take for a
// corrupt one.
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

// manifest is what LevelDB's list of its files says.
type manifest struct {
	log    uint64           // the number of the oldest log that is not in tables; 0 before the first
	tables map[uint64]int64 // the sizes of the tables by their numbers
}

// errList is a manifest of which nothing can be read.
var errList = errors.New("is damaged at byte 0")

// The tags of the fields of a record of a manifest. All but the comparer, which is a string, are numbers.
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

// readManifest reads a manifest up to the first record that is not whole.
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

// add adds what a record says.
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
