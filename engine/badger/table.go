package badger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/klauspost/compress/s2"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// The tables on the disk.
//
// Badger ends the process, or goes on without an answer, when it opens a table whose end is
// damaged, and takes what is behind a damaged block for absent, also when it compacts. So tables
// are verified before it opens them.
//
// A table is a row of blocks, then the index, then (as lengths and checksums are 4-byte big-endian and
// protocol buffers):
//
//	index, its length, checksum of the index, length of the checksum
//
// Where there is a data key, the index and each block are encrypted, each with its initialization
// vector as its last 16 bytes. A block may be compressed, and ends with
//
//	places of its entries (4 bytes each), their number, checksum of all before it, length of the checksum

// tableInfo says how a table is written.
type tableInfo struct {
	dataKey     []byte // nil when it is not encrypted
	compression options.CompressionType
}

// maxIndex bounds what is read as an index, maxBlock what one block is: an entry more than Badger's least, at most.
const maxIndex, maxBlock = 1 << 30, 128 << 20

// tableFound is what a table holds.
type tableFound struct {
	entries int64
	version uint64 // the newest
}

// verifyTable reads a table. Without all, it reads the index and the last block only, which is what
// opening it takes.
func verifyTable(name string, info tableInfo, all bool) (found tableFound, err error) {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return found, fmt.Errorf("%w: table %s is missing", errCorrupt, filepath.Base(name))
	}
	if err != nil {
		return found, err
	}
	err = unpanicked(func() error {
		found, err = verifyOpenTable(file, info, all)
		return err
	})
	if err = enginekit.FirstError(err, file.Close()); err != nil {
		err = fmt.Errorf("%w: table %s: %w", errCorrupt, filepath.Base(name), err)
	}
	return found, err
}

// unpanicked reads what may be damaged, where a panic is one more sign of it: the code below us trusts what has
// the right checksum.
func unpanicked(read func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("it cannot be read: %s", enginekit.OneLine(fmt.Sprint(value)))
		}
	}()
	return read()
}

func verifyOpenTable(file *os.File, info tableInfo, all bool) (found tableFound, err error) {
	index, size, err := readIndex(file, info)
	if err != nil {
		return found, fmt.Errorf("index: %w", err)
	}
	n := index.OffsetsLength()
	if n == 0 {
		return found, errors.New("it has no blocks")
	}
	first := 0
	if !all {
		first = n - 1
	}
	var place fb.BlockOffset
	var reader *bufio.Reader
	var block, scratch []byte
	for i := first; i < n; i++ {
		if !index.Offsets(&place, i) || int64(place.Offset())+int64(place.Len()) > size {
			return found, fmt.Errorf("block %d is not within the file", i)
		}
		if reader == nil {
			reader = bufio.NewReaderSize(io.NewSectionReader(file, int64(place.Offset()), size), 256<<10)
		}
		block = slices.Grow(block[:0], int(place.Len()))[:place.Len()]
		if _, err := io.ReadFull(reader, block); err != nil {
			return found, fmt.Errorf("block %d: %w", i, err)
		}
		if scratch, err = verifyBlock(block, scratch, info); err != nil {
			return found, fmt.Errorf("block %d at byte %d: %w", i, place.Offset(), err)
		}
	}
	return tableFound{entries: int64(index.KeyCount()), version: index.MaxVersion()}, nil
}

// readIndex returns the index of a table and the size of the file.
func readIndex(file *os.File, info tableInfo) (*fb.TableIndex, int64, error) {
	stat, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	at := stat.Size()
	// last reads what ends at a place, and moves there.
	last := func(n int64) ([]byte, error) {
		if n > at || n > maxIndex {
			return nil, errors.New("a length is out of range")
		}
		at -= n
		part := make([]byte, n)
		_, err := file.ReadAt(part, at)
		return part, err
	}
	// sized reads what is followed by its length.
	sized := func() ([]byte, error) {
		length, err := last(4)
		if err != nil {
			return nil, err
		}
		return last(int64(binary.BigEndian.Uint32(length)))
	}
	sum, err := sized()
	if err != nil {
		return nil, 0, err
	}
	index, err := sized()
	if err != nil {
		return nil, 0, err
	}
	if len(sum) == 0 || len(index) == 0 { // as zeros would have it
		return nil, 0, errors.New("it is empty")
	}
	if err := verifySum(index, sum); err != nil {
		return nil, 0, err
	}
	if index, err = info.decrypt(index); err != nil {
		return nil, 0, err
	}
	return fb.GetRootAsTableIndex(index, 0), stat.Size(), nil
}

// verifyBlock verifies the checksum of a block. The scratch buffer is returned for reuse.
func verifyBlock(stored, scratch []byte, info tableInfo) ([]byte, error) {
	block, err := info.decrypt(stored)
	if err != nil {
		return scratch, err
	}
	switch info.compression {
	case options.None:
		return scratch, verifyContent(block)
	case options.Snappy:
		if size, err := s2.DecodedLen(block); err != nil || size > maxBlock {
			return scratch, errors.New("its length is out of range")
		}
		block, err = s2.Decode(scratch[:cap(scratch)], block)
	case options.ZSTD:
		block, err = y.ZSTDDecompress(scratch, block)
	default:
		return scratch, fmt.Errorf("unknown compression %d", info.compression)
	}
	if err != nil {
		return scratch, err
	}
	return block, verifyContent(block)
}

// verifyContent verifies the checksum of a block that is neither encrypted nor compressed any more.
func verifyContent(block []byte) error {
	at := len(block) - 4
	if at < 0 {
		return errors.New("it is too short")
	}
	sumLen := int64(binary.BigEndian.Uint32(block[at:]))
	if sumLen > int64(at) {
		return errors.New("the length of its checksum is out of range")
	}
	from := at - int(sumLen)
	content := block[:from]
	if len(content) < 4 {
		return errors.New("it is too short")
	}
	if number := int64(binary.BigEndian.Uint32(content[len(content)-4:])); number*4 > int64(len(content)-4) {
		return errors.New("the number of its entries is out of range")
	}
	return verifySum(content, block[from:at])
}

// decrypt decrypts what ends with its initialization vector.
func (info tableInfo) decrypt(stored []byte) ([]byte, error) {
	if info.dataKey == nil {
		return stored, nil
	}
	at := len(stored) - 16
	if at < 0 {
		return nil, errors.New("it is too short")
	}
	return y.XORBlockAllocate(stored[:at], info.dataKey, stored[at:])
}

// verifySum verifies content against a stored checksum, a protocol buffer with two fields.
func verifySum(content, stored []byte) error {
	var sum pb.Checksum
	for len(stored) > 0 {
		field := stored[0]
		n, width := binary.Uvarint(stored[1:])
		if width <= 0 {
			return errors.New("its checksum cannot be read")
		}
		switch field {
		case 1 << 3:
			sum.Algo = pb.Checksum_Algorithm(n)
		case 2 << 3:
			sum.Sum = n
		default:
			return errors.New("its checksum cannot be read")
		}
		stored = stored[1+width:]
	}
	if _, known := pb.Checksum_Algorithm_name[int32(sum.Algo)]; !known {
		return fmt.Errorf("its checksum is of an unknown kind, %d", sum.Algo)
	}
	return y.VerifyChecksum(content, &sum)
}

// dataKeyOf returns a data key by its number; nil for number 0, which says that nothing is encrypted.
func dataKeyOf(registry *badger.KeyRegistry, number uint64) ([]byte, error) {
	if number == 0 {
		return nil, nil
	}
	if registry == nil {
		return nil, fmt.Errorf("it is encrypted with data key %d, and there is no file %s", number, badger.KeyRegistryFileName)
	}
	key, err := registry.DataKey(number)
	if err != nil {
		return nil, err
	}
	return key.Data, nil
}
