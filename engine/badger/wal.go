package badger

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
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
	memory  int64  // that its table takes
	version uint64 // the newest of a whole transaction
	end     int    // where the sound entries end
	whole   int    // where the last whole transaction ends
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
		return logFound{}, fmt.Errorf("%w, %s: log %s is damaged at byte %d", errCorrupt, orWithout, filepath.Base(name), found.end)
	}
	return found, nil
}

// orWithout is what can be done instead where the newest writes are damaged.
const orWithout = "or start it once with sync=off, to go on without what was written later"

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

// logEntry is an entry.
type logEntry struct {
	meta       byte
	key, value []byte // as they are in the log
	version    uint64 // of the key
	at, size   int
}

// entry returns the entry at a place, if there is a sound one.
func (l *logReader) entry(at int) (logEntry, bool) {
	rest := l.content[at:]
	header, keyLen, valueLen, ok := entryHeader(rest)
	if !ok || valueLen > len(rest) {
		return logEntry{}, false
	}
	end := header + keyLen + valueLen
	if end+crc32.Size > len(rest) || crc32.Checksum(rest[:end], castagnoli) != binary.BigEndian.Uint32(rest[end:]) {
		return logEntry{}, false
	}
	e := logEntry{meta: rest[0], key: rest[header : header+keyLen], value: rest[header+keyLen : end], at: at, size: end + crc32.Size}
	plain, err := l.decrypt(e.key, at)
	if err != nil || len(plain) < 8 {
		return logEntry{}, false
	}
	e.version = y.ParseTs(plain)
	return e, true
}

// maxEntryHeader is the most that the header of an entry takes.
const maxEntryHeader = 2 + 3*binary.MaxVarintLen64

// entryHeader reads the header of an entry.
func entryHeader(from []byte) (size, keyLen, valueLen int, ok bool) {
	if len(from) < 2 {
		return 0, 0, 0, false
	}
	size = 2
	var lengths [3]uint64 // of the key, of the value; the time of expiry
	for i := range lengths {
		n, width := binary.Uvarint(from[size:])
		if width <= 0 {
			return 0, 0, 0, false
		}
		lengths[i], size = n, size+width
	}
	if lengths[0] == 0 || lengths[0] > maxLogKey || lengths[1] > math.MaxInt32 {
		return 0, 0, 0, false
	}
	return size, int(lengths[0]), int(lengths[1]), true
}

// eachEntry calls a function with each entry of a log that is complete, without the values, and
// returns its first error. It reads along, and takes little memory.
func eachEntry(file *os.File, registry *badger.KeyRegistry, call func(logEntry) error) error {
	reader, header := bufio.NewReaderSize(file, 64<<10), make([]byte, logHeaderSize)
	if _, err := io.ReadFull(reader, header); err != nil {
		return fmt.Errorf("log %s: %w", file.Name(), err)
	}
	l, err := newLogReader(header, registry)
	if err != nil {
		return fmt.Errorf("log %s: %w", file.Name(), err)
	}
	for at := logHeaderSize; ; {
		e, err := l.next(reader, at)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("log %s is damaged at byte %d: %w", file.Name(), at, err)
		}
		if err := call(e); err != nil {
			return err
		}
		at += e.size
	}
}

// next reads the next entry, without its value, of a log whose header l has. The error is io.EOF at
// the end.
func (l *logReader) next(from *bufio.Reader, at int) (e logEntry, err error) {
	begin, err := from.Peek(maxEntryHeader)
	if len(begin) == 0 || err != nil && err != io.EOF {
		return e, err
	}
	header, keyLen, valueLen, ok := entryHeader(begin)
	if !ok {
		return e, errors.New("it has no entry there")
	}
	e = logEntry{meta: begin[0], at: at, size: header + keyLen + valueLen + crc32.Size}
	whole, sum := make([]byte, header+keyLen), crc32.New(castagnoli)
	var stored [crc32.Size]byte
	_, err = io.ReadFull(from, whole)
	if err == nil {
		sum.Write(whole)
		_, err = io.CopyN(sum, from, int64(valueLen))
	}
	if err == nil {
		_, err = io.ReadFull(from, stored[:])
	}
	if err != nil {
		return e, fmt.Errorf("it is cut short: %v", err) // no io.EOF
	}
	if sum.Sum32() != binary.BigEndian.Uint32(stored[:]) {
		return e, errors.New("its entry does not match its checksum")
	}
	plain, err := l.decrypt(whole[header:], at)
	if err != nil {
		return e, err
	}
	if len(plain) < 8 {
		return e, errors.New("its key is too short")
	}
	e.key, e.version = y.ParseKey(plain), y.ParseTs(plain)
	return e, nil
}

// decrypt decrypts the beginning of what is encrypted in an entry at a place.
func (l *logReader) decrypt(part []byte, at int) ([]byte, error) {
	if l.dataKey == nil {
		return part, nil
	}
	iv := make([]byte, 16)
	copy(iv, l.content[8:logHeaderSize])
	binary.BigEndian.PutUint32(iv[12:], uint32(at))
	return y.XORBlockAllocate(part, l.dataKey, iv)
}

// read reads up to the first place without a sound entry. The version of the transaction that is
// open there is returned beside; 0 for none.
func (l *logReader) read() (found logFound, open uint64) {
	found.end, found.whole = logHeaderSize, logHeaderSize
	for {
		e, ok := l.entry(found.end)
		if !ok {
			return found, open
		}
		found.end += e.size
		switch {
		case e.meta&endsOne != 0:
			found.version = max(found.version, open)
			open, found.whole = 0, found.end
			continue
		case e.meta&inTransaction != 0:
			open = e.version
		default:
			found.whole = found.end
			found.version = max(found.version, e.version)
		}
		found.entries++
		found.memory += int64(skl.MaxNodeSize + len(e.key) + len(e.value) + entryOverhead)
	}
}

// damaged reports whether there is an entry behind a broken place that is of another transaction than
// what is broken.
func (l *logReader) damaged(end int, open uint64) bool {
	rest := l.content[end:]
	if len(bytes.TrimLeft(rest, "\x00")) == 0 {
		return false
	}
	// A log is made twice as long as what is written to it: an entry that does not fit was cut off with the file.
	if header, keyLen, valueLen, ok := entryHeader(rest); len(rest) < maxEntryHeader || ok && header+keyLen+valueLen+crc32.Size > len(rest) {
		return true
	}
	for at := end + 1; at < len(l.content); at++ {
		if meta := l.content[at]; meta&(inTransaction|endsOne) == 0 {
			continue
		}
		e, ok := l.entry(at)
		if !ok {
			continue
		}
		if open != 0 && e.version != open {
			return true
		}
		open = e.version
		at += e.size - 1
	}
	return false
}
