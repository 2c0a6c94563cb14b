package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/skl"
	"github.com/dgraph-io/badger/v4/y"
)

// The logs of the memtables.
//
// Badger replays a log into a memtable, up to the first incomplete entry, and truncates the rest. It ends the process
// if the memtable is smaller than the content of the log. In read-only mode, where it may not truncate, it does not
// replay such a log. The layer therefore first determines how much the log holds, and up to which transaction.
//
// A log begins with the number of its data key (8 bytes, 0 for none) and the first 12 bytes of its initialization
// vector. Then follow the entries, in a file that was created with zeros:
//
//	meta, user meta (a byte each), lengths of key and value, time of expiry (unsigned varints),
//	key, value (encrypted if there is a data key), CRC-32C of all before it, big-endian
//
// The last entry of a transaction is marked in meta. Its key ends with the number of the transaction.
const (
	logHeaderSize = 20
	endsOne       = 1 << 7
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logFile is a log.
type logFile struct {
	name    string
	entries int64
	memory  int64  // the memory that its memtable takes
	whole   int    // the end of the last complete transaction
	first   uint64 // the number of the first complete transaction, 0 for none
	version uint64 // of the last one
}

// readLog reads a log.
func readLog(name string, registry *badger.KeyRegistry) (log logFile, err error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return log, err
	}
	key, err := logKey(content, registry)
	if err != nil {
		return log, corrupt("log %s, %w", filepath.Base(name), err)
	}
	log = logFile{name: name, whole: logHeaderSize}
	for at := logHeaderSize; ; {
		entry := soundEntry(content[at:])
		if entry.size == 0 {
			return log, nil
		}
		log.entries++
		log.memory += int64(skl.MaxNodeSize + entry.size)
		if entry.ends {
			stored := entry.key
			if key != nil {
				iv := binary.BigEndian.AppendUint32(content[8:logHeaderSize:logHeaderSize], uint32(at))
				if stored, err = y.XORBlockAllocate(stored, key.Data, iv); err != nil {
					return log, err
				}
			}
			log.whole, log.version = at+entry.size, y.ParseTs(stored)
			if log.first == 0 {
				log.first = log.version
			}
		}
		at += entry.size
	}
}

// logKey returns the data key of a log, or of a file of the value log, from its header.
func logKey(content []byte, registry *badger.KeyRegistry) (*pb.DataKey, error) {
	if len(content) < logHeaderSize {
		return nil, fmt.Errorf("it has %d bytes, its header alone takes %d", len(content), logHeaderSize)
	}
	key, err := dataKeyOf(registry, binary.BigEndian.Uint64(content))
	if err != nil {
		return nil, errors.New("its header is damaged")
	}
	return key, nil
}

// logEntry is an entry. The zero value means that there is none.
type logEntry struct {
	size int
	ends bool // a transaction
	key  []byte
}

// soundEntry returns the entry at the start of the rest of a log, if it is intact.
func soundEntry(rest []byte) logEntry {
	if len(rest) < 2 {
		return logEntry{}
	}
	at := 2
	var numbers [3]uint64 // lengths of the key and of the value, time of expiry
	for i := range numbers {
		n, width := binary.Uvarint(rest[at:])
		if width <= 0 {
			return logEntry{}
		}
		numbers[i], at = n, at+width
	}
	const version = 8 // the length of the version at the end of each key
	left := uint64(len(rest) - at)
	if numbers[0] < version || numbers[0] > left || numbers[1] > left || numbers[0]+numbers[1]+crc32.Size > left {
		return logEntry{}
	}
	key := rest[at : at+int(numbers[0])]
	end := at + int(numbers[0]+numbers[1])
	if crc32.Checksum(rest[:end], castagnoli) != binary.BigEndian.Uint32(rest[end:]) {
		return logEntry{}
	}
	return logEntry{size: end + crc32.Size, ends: rest[0]&endsOne != 0, key: key}
}
