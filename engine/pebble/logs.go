package pebble

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// This file inspects the write-ahead logs before Pebble does, for losses that Pebble cannot detect: whether there is
// a log, and whether Close left it in that form. Pebble itself checks the content of a log. Each chunk has a
// checksum, and records how much before it was synced, so damage there is an error. Pebble treats damage in the
// unsynced part, and in the last blocks, as the end that a crash cut short.

// errNoLog reports a database without any log. A database always has one from its creation on: Pebble creates a new
// log before it removes an old one.
var errNoLog = errors.New("it has no write-ahead log (*.log), which holds the newest writes; restore it from a backup")

// checkLog rejects a database without a log. It reports whether the newest log is as Close leaves it, without a
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

// newestLog returns the name and the number of the newest log, and no name if there is none.
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

// logNumber returns the number of the log with the given name.
func logNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// A chunk of a log begins with a checksum, a length in two bytes, a type, and the number of the log. The number is
// needed because the file may have been another log before.
const (
	chunkLengthAt = 4
	chunkTypeAt   = 6
	chunkLogAt    = 7
	chunkHeader   = chunkLogAt + 4
)

// beginningOf returns the first header of a log, padded with zeros.
func beginningOf(disk vfs.FS, log string) (head [chunkHeader]byte, err error) {
	file, err := disk.Open(log)
	if err != nil {
		return head, err
	}
	_, err = io.ReadFull(file, head[:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head, cmp.Or(err, file.Close())
}

// endsLog reports whether a header ends a log that was closed cleanly: it has no content, and its number is one
// greater than the log's.
func endsLog(head [chunkHeader]byte, log uint32) bool {
	return !holdsRecord(head) && head[chunkTypeAt] == 5 && binary.LittleEndian.Uint32(head[chunkLogAt:]) == log+1
}

// holdsRecord reports whether a header belongs to a chunk with content.
func holdsRecord(head [chunkHeader]byte) bool {
	return binary.LittleEndian.Uint16(head[chunkLengthAt:]) != 0
}
