package sqlite

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A killed process leaves its log and the log's index, which says how long the log is. SQLite rebuilds the index from
// what is left of the log. It therefore treats a log that was emptied, truncated or not copied as complete.

// errLogShort describes the damage and the remedy.
var errLogShort = errors.New("the write-ahead log is damaged or cut short, and acknowledged writes would be lost; " +
	"restore both from a backup, or give up those writes by opening and closing the file with another program for SQLite")

// The headers of a log (https://sqlite.org/fileformat2.html#walformat) and of its index
// (https://sqlite.org/walformat.html#walidxfmt), which has its header twice.
const (
	logSuffix     = "-wal"
	logHeaderSize = 32
	logSaltAt     = 16
	logMagic      = 0x377f0682 // the lowest bit selects the byte order
	frameHeader   = 24

	indexHeader   = 136
	indexCopy     = 48
	indexPageAt   = 14
	indexFramesAt = 16
	indexSaltAt   = 32
	indexMovedAt  = 96
)

// checkLog rejects a log that is shorter than its index says. The index is written after the log is synced, so a
// crash cannot cause this, with one exception: a power failure just after a compaction truncated the log, which lost
// nothing.
func checkLog(path string) error {
	index, err := os.ReadFile(path + indexSuffix)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(index) < indexHeader {
		return nil
	}
	if err != nil {
		return err
	}
	number := func(at int) int64 { return int64(binary.LittleEndian.Uint32(index[at:])) }
	frames := number(indexFramesAt)
	if !bytes.Equal(index[:indexCopy], index[indexCopy:2*indexCopy]) || frames <= number(indexMovedAt) {
		return nil
	}
	log, size, err := readBeginning(path + logSuffix)
	if err != nil {
		return err
	}
	sound := size >= logHeaderSize && binary.BigEndian.Uint32(log[:])&^1 == logMagic
	if sound && !bytes.Equal(log[logSaltAt:logSaltAt+8], index[indexSaltAt:indexSaltAt+8]) {
		return nil // a log that has started over since
	}
	want := logHeaderSize + frames*(frameHeader+pageSize(binary.LittleEndian.Uint16(index[indexPageAt:])))
	if sound && size >= want {
		return nil
	}
	return fmt.Errorf("%w (by %s it has %d bytes, and %d of them are there)", errLogShort, path+indexSuffix, want, size)
}

// pageSize decodes SQLite's size of a page.
func pageSize(noted uint16) int64 {
	if noted == 1 {
		return 65536
	}
	return int64(noted)
}

// readBeginning returns the start of a file, padded with zeros, and its size. For an absent file it returns nothing.
func readBeginning(name string) (header [headerSize]byte, size int64, err error) {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return header, 0, nil
	}
	if err != nil {
		return header, 0, err
	}
	info, err := file.Stat()
	if err == nil {
		size = info.Size()
		_, err = io.ReadFull(file, header[:])
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return header, size, cmp.Or(err, file.Close())
}

// checkJournal rejects reading a database with an interrupted transaction of another program, or of one of SQLite's
// other modes, in FILE-journal: only SQLite can roll it back, by writing.
func checkJournal(path string) error {
	info, err := os.Stat(path + journalSuffix)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("another program was cut off in the middle of a transaction, which %s%s holds; open the file once "+
		"to write, which takes the transaction back", path, journalSuffix)
}
