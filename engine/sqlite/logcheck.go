package sqlite

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// A process that was killed leaves its log, and the next one to open the file reads it. SQLite
// takes the first frame of it that does not fit for its end: a crash may have cut short what was
// being written. So it takes damage in the middle for the end too, and drops what was acknowledged
// behind it in silence. Since each transaction is synced before the next one is written, a crash
// tears the last one only; when there are whole ones behind the frame that does not fit, it is
// damage.
//
// A log that was written without sync can have such places from a loss of power. The note "sync"
// tells of it.

// errLogDamaged says so, and what to do.
var errLogDamaged = errors.New("the write-ahead log is damaged or cut short, and acknowledged writes would be lost; " +
	"restore both from a backup, or give up those writes by opening and closing the file with another program for SQLite")

// The format of the log (https://sqlite.org/fileformat2.html#walformat).
const (
	logSuffix      = "-wal"
	logHeaderSize  = 32
	logMagic       = 0x377f0682 // the lowest bit: whether checksums are of big-endian words
	frameHeader    = 24
	frameCommitAt  = 4
	frameSaltAt    = 8
	frameSumAt     = 16
	headerPageAt   = 8
	headerSaltAt   = 16
	headerSumAt    = 24
	largestLogPage = 65536
)

// checkLog refuses a log that is damaged in the middle.
func checkLog(path string) error {
	file, err := os.Open(path + logSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	damaged, err := logDamaged(bufio.NewReaderSize(file, 1<<20))
	if err = enginekit.FirstError(err, file.Close()); err == nil && damaged {
		err = errLogDamaged
	}
	return err
}

// logDamaged reports whether there are whole transactions behind a frame that does not fit: a
// frame that ends one, and another frame behind that.
func logDamaged(log io.Reader) (bool, error) {
	header := make([]byte, logHeaderSize)
	if _, err := io.ReadFull(log, header); err != nil {
		return false, ended(err)
	}
	order, size, ok := logForm(header)
	if !ok {
		return false, nil // what this was is not to be told
	}
	sum := logSum{order: order}
	fits := sum.add(header[:headerSumAt]) == readSum(header[headerSumAt:])
	before, salt := readSum(header[headerSumAt:]), header[headerSaltAt:headerSumAt]
	frame := make([]byte, frameHeader+size)
	for torn, whole := !fits, false; ; {
		if _, err := io.ReadFull(log, frame); err != nil {
			return false, ended(err)
		}
		if !fits {
			salt = bytes.Clone(frame[frameSaltAt:frameSumAt]) // the header's may be what is damaged
			fits = true
		}
		sum := logSum{order: order, value: before}
		sum.add(frame[:frameSaltAt])
		before = readSum(frame[frameSumAt:])
		if !bytes.Equal(salt, frame[frameSaltAt:frameSumAt]) || sum.add(frame[frameHeader:]) != before {
			torn, whole = true, false
			continue
		}
		if torn && whole {
			return true, nil
		}
		whole = whole || torn && binary.BigEndian.Uint32(frame[frameCommitAt:]) != 0
	}
}

// ended is the error of a file that does not simply end.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// logForm returns the byte order of a log's checksums and the size of its pages.
func logForm(header []byte) (order binary.ByteOrder, size int, ok bool) {
	magic := binary.BigEndian.Uint32(header)
	order = binary.LittleEndian
	if magic&1 != 0 {
		order = binary.BigEndian
	}
	pages := binary.BigEndian.Uint32(header[headerPageAt:])
	power := pages&(pages-1) == 0
	return order, int(pages), magic&^1 == logMagic && power && 512 <= pages && pages <= largestLogPage
}

// logSum is the checksum of SQLite's log, of pairs of words.
type logSum struct {
	order binary.ByteOrder
	value [2]uint32
}

func (s *logSum) add(b []byte) [2]uint32 {
	x, y := s.value[0], s.value[1]
	for ; len(b) >= 8; b = b[8:] {
		x += s.order.Uint32(b) + y
		y += s.order.Uint32(b[4:]) + x
	}
	s.value = [2]uint32{x, y}
	return s.value
}

func readSum(b []byte) [2]uint32 {
	return [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// isUnsynced reports whether the note says that the log was written without sync.
func (c *conn) isUnsynced() (unsynced bool, err error) {
	err = c.note(noteUnsynced, func(*sqlite3.Stmt) error {
		unsynced = true
		return nil
	})
	return unsynced, err
}

// checkIndex refuses a log that is shorter than its index, which a process that was killed left, says that it is. The
// index is written after the log was synced, so that no crash makes it so, but for one: a loss of power just after
// a compaction cut the log, which cost nothing.
func (l logIndex) checkIndex(path string) error {
	content, err := os.ReadFile(path + indexSuffix)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(content) < indexHeader {
		return nil
	}
	if err != nil {
		return err
	}
	sum := logSum{order: binary.LittleEndian} // that of this machine; of another one, nothing is known
	first, second := content[:indexCopy], content[indexCopy:2*indexCopy]
	read := readIndexSum(first[indexSumAt:])
	if !bytes.Equal(first, second) || sum.add(first[:indexSumAt]) != read {
		return nil
	}
	frames := int(binary.LittleEndian.Uint32(content[indexFramesAt:]))
	moved := int(binary.LittleEndian.Uint32(content[indexMovedAt:]))
	salt := string(content[indexSaltAt : indexSaltAt+8])
	if frames <= moved || frames <= l.frames || l.salt != "" && l.salt != salt {
		return nil
	}
	return fmt.Errorf("%w: %s says that it has %d pages, and it has %d", errLogDamaged, path+indexSuffix, frames, l.frames)
}

// The format of the index (https://sqlite.org/walformat.html#walidxfmt), whose header is there twice.
const (
	indexHeader   = 136
	indexCopy     = 48
	indexFramesAt = 16
	indexSaltAt   = 32
	indexSumAt    = 40
	indexMovedAt  = 96
)

func readIndexSum(b []byte) [2]uint32 {
	return [2]uint32{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])}
}

// noteSync notes whether the log is synced from now on, before something is written to it that
// may not be.
func (d *database) noteSync() error {
	switch off := d.options.Durability == DurabilityNoSync; {
	case off && !d.unsynced:
		return d.noteDurably(noteUnsynced, "off")
	case !off && d.unsynced:
		// Of a log that begins anew nothing is left that was not synced. While another program
		// reads it, it cannot, and the note stays.
		if _, err := d.writer.cutLog(); err != nil {
			if isCode(err, sqlite3.BUSY) {
				return nil
			}
			return err
		}
		return d.noteDurably(noteUnsynced, "")
	}
	return nil
}
