package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/engine/internal/levelfiles"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// This file reads the newest write-ahead log before Pebble does. Pebble takes the first chunk that
// it cannot read for the end that a crash cut short, unless a later block says that more
// than that was synced: it would drop what stands behind damage in the last blocks, in silence. (In
// older logs it takes nothing but a right end.)
//
// A sound record behind a broken one is no proof of damage by itself. What was written since the last
// sync reaches the disk in any order, and several writers' records are written before one sync, so that a loss of
// power may leave the second without the first. So each batch says how much of the log was
// synced before it was made; see mark. Where more was synced than stands before the broken
// chunk, that chunk was on the disk, and is damaged. The header of a chunk says the like, but less:
// Pebble does not count there what it writes as whole blocks.
//
// What stays unknown is damage to what the last sync wrote, when nothing was written after it: it looks like
// what a loss of power leaves. Close leaves a log without records, so that this is about stores that were not
// closed.

// errLog is a log with damage in the middle.
var errLog = errors.New("the store is corrupt; restore it from a backup: its write-ahead log is damaged")

// errNoLog is a database without any log. There is one from its making on: Pebble makes a new one before it
// removes an old one.
var errNoLog = errors.New("it has no write-ahead log (*.log), which holds the newest writes; restore it from a backup")

// checkLog refuses a database whose newest log is damaged or missing. It tells whether the log is what Close
// leaves.
func checkLog(disk vfs.FS, dir string) (closed bool, err error) {
	name, number, err := newestLog(disk, dir)
	if err != nil {
		return false, err
	}
	if name == "" {
		return false, errNoLog
	}
	r, err := readLog(disk, disk.PathJoin(dir, name), number)
	if err != nil {
		return false, err
	}
	if r.damaged() {
		return false, fmt.Errorf("%w: file %s at byte %d", errLog, disk.PathJoin(dir, name), r.broken)
	}
	return r.ended && r.records == 0, nil
}

// newestLog returns the name and the number of the newest log; no name when there is none.
func newestLog(disk vfs.FS, dir string) (name string, number uint64, err error) {
	names, err := disk.List(dir)
	if err != nil {
		return "", 0, err
	}
	for _, candidate := range names {
		if n, ok := logNumber(candidate); ok && (name == "" || n > number) {
			name, number = candidate, n
		}
	}
	return name, number, nil
}

// logNumber returns the number of the log that has a name.
func logNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// readLog reads a log to its end.
func readLog(disk vfs.FS, name string, number uint64) (*logReader, error) {
	r := &logReader{number: number, broken: -1}
	file, err := disk.Open(name)
	if err != nil {
		return r, err
	}
	return r, enginekit.FirstError(r.readAll(file), file.Close())
}

// logReader reads a log to find damage.
type logReader struct {
	number  uint64
	records int   // that begin
	broken  int64 // where the first broken chunk is; -1 for none
	// synced is how much of the log was synced, by what stands behind the broken chunk.
	synced uint64

	ended  bool // by what a log that was closed ends with; what follows is of older logs
	within bool // a record has begun and not ended
	// head is the beginning of the record that is being read, up to what can hold its mark; known is false where it
	// has not been read.
	head  []byte
	known bool
}

// damaged tells whether the broken chunk was whole on the disk.
func (r *logReader) damaged() bool { return r.broken >= 0 && r.synced > uint64(r.broken) }

func (r *logReader) readAll(log io.Reader) error {
	block := make([]byte, levelfiles.LogBlock)
	for offset := int64(0); !r.ended; offset += levelfiles.LogBlock {
		n, err := io.ReadFull(log, block)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		r.read(block[:n], offset)
		if n < levelfiles.LogBlock {
			return nil
		}
	}
	return nil
}

// read reads a block that begins at an offset.
func (r *logReader) read(block []byte, offset int64) {
	for at := 0; len(block)-at >= levelfiles.MinLogHeader; {
		rest := block[at:]
		chunk := levelfiles.SoundChunkOf(rest, uint32(r.number))
		if chunk.Size == 0 && r.broken < 0 {
			if r.ended = !r.within && levelfiles.EndsLog(rest, uint32(r.number)); r.ended || isPadding(rest) {
				return
			}
		}
		if r.broken < 0 && (chunk.Size == 0 || chunk.Begins == r.within) {
			r.broken = offset + int64(at)
		}
		r.take(chunk)
		at += max(chunk.Size, 1) // behind a broken one, any byte may be where a sound one begins
	}
}

// isPadding tells whether the rest of a block is what fills it up where no chunk has room.
func isPadding(rest []byte) bool {
	return len(rest) < levelfiles.MaxLogHeader && len(bytes.Trim(rest, "\x00")) == 0
}

// take takes note of the next chunk, or of a broken one.
func (r *logReader) take(chunk levelfiles.LogChunk) {
	r.within = chunk.Size > 0 && !chunk.Ends
	if chunk.Size == 0 {
		r.known = false
		return
	}
	if chunk.Begins {
		r.records++
		r.head, r.known = r.head[:0], true
	}
	r.head = append(r.head, chunk.Payload[:min(len(chunk.Payload), maxMarkEnd-len(r.head))]...)
	if r.broken < 0 {
		return
	}
	r.synced = max(r.synced, chunk.Synced)
	if r.known {
		r.synced = max(r.synced, markIn(r.head, r.number))
	}
}

// A mark says how much of a log was synced before a batch was made. It is the first entry of the batch, and
// data that is in the log only:
//
//	markKind, the number of the log, the bytes of it that were synced
//
// both numbers as varints.
const markKind = 1

// maxMark is the size of the longest mark.
const maxMark = 1 + 2*binary.MaxVarintLen64

// The beginning of a batch, up to the end of its mark: its header, the kind of the entry, its length.
const (
	batchHeader = 8 + 4
	logDataKind = byte(pebble.InternalKeyKindLogData)
	maxMarkEnd  = batchHeader + 1 + 1 + maxMark
)

// addMark adds the mark to a batch that is empty.
func addMark(b *pebble.Batch, synced *logSync) error {
	if synced == nil {
		return nil
	}
	var mark [maxMark]byte
	m := binary.AppendUvarint(append(mark[:0], markKind), synced.number)
	return b.LogData(binary.AppendUvarint(m, uint64(synced.bytes)), nil)
}

// markIn returns how much of a log was synced, by the mark of the batch that begins with head; 0 without one.
func markIn(head []byte, log uint64) uint64 {
	if len(head) < batchHeader+2 || head[batchHeader] != logDataKind {
		return 0
	}
	mark := head[batchHeader+2:]
	if length := int(head[batchHeader+1]); length > len(mark) || length < 1 || mark[0] != markKind {
		return 0
	}
	number, n := binary.Uvarint(mark[1:])
	if n <= 0 || number != log {
		return 0
	}
	synced, n := binary.Uvarint(mark[1+n:])
	if n <= 0 {
		return 0
	}
	return synced
}
