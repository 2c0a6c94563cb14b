package pebble

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// This file looks at the write-ahead logs before Pebble does, as far as nobody else can tell what is lost: whether there is one, and
// whether it is what Close leaves. What is in a log Pebble checks itself: each chunk has a checksum, and says how much before it
// was synced, so that damage there is an error. At what was not synced yet, and in the last blocks, it takes damage for the end that
// a crash cut short.

// errNoLog is a database without any log. There is one from its making on: Pebble makes a new one before it
// removes an old one.
var errNoLog = errors.New("it has no write-ahead log (*.log), which holds the newest writes; restore it from a backup")

// checkLog refuses a database without a log. It tells whether the newest one is what Close leaves, which is without a
// record.
func checkLog(disk vfs.FS, dir string) (closed bool, err error) {
	name, number, err := newestLog(disk, dir)
	if err != nil {
		return false, err
	}
	if name == "" {
		return false, errNoLog
	}
	head, err := beginningOf(disk, disk.PathJoin(dir, name))
	return endsLog(head, uint32(number)), err
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

// A chunk of a log begins with a checksum, a length in two bytes, a type, and the number of the log, since the file may have
// been another log before.
const (
	chunkLengthAt = 4
	chunkTypeAt   = 6
	chunkLogAt    = 7
	chunkHeader   = chunkLogAt + 4
)

// beginningOf returns the first header of a log, filled up with zeros.
func beginningOf(disk vfs.FS, log string) (head [chunkHeader]byte, err error) {
	file, err := disk.Open(log)
	if err != nil {
		return head, err
	}
	_, err = io.ReadFull(file, head[:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head, enginekit.FirstError(err, file.Close())
}

// endsLog reports whether a header is what ends a log that was closed in order: one of nothing, with the number behind
// the log's.
func endsLog(head [chunkHeader]byte, log uint32) bool {
	return !holdsRecord(head) && head[chunkTypeAt] == 5 && binary.LittleEndian.Uint32(head[chunkLogAt:]) == log+1
}

// holdsRecord reports whether a header is of a chunk with something in it.
func holdsRecord(head [chunkHeader]byte) bool {
	return binary.LittleEndian.Uint16(head[chunkLengthAt:]) != 0
}
