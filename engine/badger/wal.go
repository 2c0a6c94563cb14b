package badger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/skl"
	"github.com/dgraph-io/badger/v4/y"
)

// The logs of the tables in memory.
//
// Badger takes the first entry that it cannot read for the end of a log, which a crash cut short,
// and forgets what follows. But a crash cuts only the last transaction short: each is synced before
// the next one is written. So an entry of another transaction behind the broken place is damage,
// and what it would take along was acknowledged.
//
// A log begins with the number of its data key (8 bytes, 0 for none) and the first 12 bytes of its
// initialization vector. Then there is entry after entry, in a file that was made with zeros:
//
//	meta, user meta (a byte each), lengths of key and value, time of expiry (unsigned varints),
//	key, value (encrypted where there is a data key), CRC-32C of all before it, big-endian
//
// A key ends with its version. The bits of meta tell entries of transactions and their ends apart
// from what the garbage collection moves, which is in no transaction.
const (
	logHeaderSize = 20
	inTransaction = 1 << 6
	endsOne       = 1 << 7
	maxLogKey     = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logFound is what a log holds.
type logFound struct {
	entries int64
	memory  int64 // that its table takes
	end     int   // where the sound entries end
}

// inspectLog reads a log. Damage in the middle is an error, unless the newest writes may be missing.
func inspectLog(name string, registry *badger.KeyRegistry, mayMiss bool) (logFound, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return logFound{}, err
	}
	l, err := newLogReader(content, registry)
	if err != nil {
		return logFound{}, fmt.Errorf("%w: log %s: %w", errCorrupt, filepath.Base(name), err)
	}
	found, open := l.read()
	if !mayMiss && l.damaged(found.end, open) {
		return logFound{}, fmt.Errorf("%w, or start it once with sync=off, to go on without what was written later: "+
			"log %s is damaged at byte %d", errCorrupt, filepath.Base(name), found.end)
	}
	return found, nil
}

// logReader reads the content of a log.
type logReader struct {
	content []byte
	dataKey []byte // nil when it is not encrypted
}

func newLogReader(content []byte, registry *badger.KeyRegistry) (*logReader, error) {
	l := &logReader{content: content}
	if len(content) < logHeaderSize {
		return nil, fmt.Errorf("it has %d bytes, its header alone takes %d", len(content), logHeaderSize)
	}
	dataKey, err := dataKeyOf(registry, binary.BigEndian.Uint64(content))
	l.dataKey = dataKey
	return l, err
}

// logEntry is a sound entry.
type logEntry struct {
	meta       byte
	key, value []byte // as they are in the log
	at, size   int
}

// entry returns the entry at a place, if there is a sound one.
func (l *logReader) entry(at int) (logEntry, bool) {
	rest := l.content[at:]
	if len(rest) < 2 {
		return logEntry{}, false
	}
	e, header := logEntry{meta: rest[0], at: at}, 2
	var lengths [3]uint64 // of the key, of the value; the time of expiry
	for i := range lengths {
		n, width := binary.Uvarint(rest[header:])
		if width <= 0 {
			return logEntry{}, false
		}
		lengths[i], header = n, header+width
	}
	keyLen, valueLen := lengths[0], lengths[1]
	if keyLen == 0 || keyLen > maxLogKey || valueLen > uint64(len(rest)) {
		return logEntry{}, false
	}
	end := header + int(keyLen) + int(valueLen)
	if end+crc32.Size > len(rest) || crc32.Checksum(rest[:end], castagnoli) != binary.BigEndian.Uint32(rest[end:]) {
		return logEntry{}, false
	}
	e.key, e.value, e.size = rest[header:header+int(keyLen)], rest[header+int(keyLen):end], end+crc32.Size
	return e, true
}

// version returns the version of an entry.
func (l *logReader) version(e logEntry) (uint64, bool) {
	key := e.key
	if l.dataKey != nil {
		iv := make([]byte, 16)
		copy(iv, l.content[8:logHeaderSize])
		binary.BigEndian.PutUint32(iv[12:], uint32(e.at))
		var err error
		if key, err = y.XORBlockAllocate(key, l.dataKey, iv); err != nil {
			return 0, false
		}
	}
	if len(key) < 8 {
		return 0, false
	}
	return y.ParseTs(key), true
}

// read reads up to the first place without a sound entry. The version of the transaction that is
// open there is returned beside; 0 for none.
func (l *logReader) read() (found logFound, open uint64) {
	found.end = logHeaderSize
	for {
		e, ok := l.entry(found.end)
		if !ok {
			return found, open
		}
		found.end += e.size
		switch {
		case e.meta&endsOne != 0:
			open = 0
			continue
		case e.meta&inTransaction != 0:
			open, _ = l.version(e)
		}
		found.entries++
		found.memory += int64(skl.MaxNodeSize + len(e.key) + len(e.value) + entryOverhead)
	}
}

// damaged reports whether there is an entry behind a broken place that is of another transaction than
// what is broken.
func (l *logReader) damaged(end int, open uint64) bool {
	if len(bytes.TrimLeft(l.content[end:], "\x00")) == 0 {
		return false
	}
	for at := end + 1; at < len(l.content); at++ {
		if meta := l.content[at]; meta&(inTransaction|endsOne) == 0 {
			continue
		}
		e, ok := l.entry(at)
		if !ok {
			continue
		}
		version, ok := l.version(e)
		if !ok {
			continue
		}
		if open != 0 && version != open {
			return true
		}
		open = version
		at += e.size - 1
	}
	return false
}
