package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/oolith-db/oolith/key"
)

// The format of the file; see the package documentation.

const (
	version = 1

	magic    = "\x89OOLITH\n"
	endMagic = "\nHTILOO\x89"

	// headerFixed is the length of a header before its pattern.
	headerFixed = 30
	// blockHead is the length of a block before its records.
	blockHead = 8
	// trailerSize is the length of the trailer after its leading zero.
	trailerSize = 16 + sha256.Size + len(endMagic)
	sumSize     = 4

	// blockSize is the size at which a block is compressed.
	blockSize = 256 << 10
	// maxBlock is the maximum decompressed size of a block. A larger record cannot be in a backup.
	maxBlock = 1 << 30
	// maxPacked is the maximum compressed size of a block. Incompressible data grows slightly.
	maxPacked = maxBlock + maxBlock/128
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendSum appends the CRC-32C of bytes to them.
func appendSum(data []byte) []byte {
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// checkSum removes the CRC-32C from the end of data and compares it.
func checkSum(data []byte) ([]byte, error) {
	body := data[:len(data)-sumSize]
	want := binary.LittleEndian.Uint32(data[len(body):])
	if got := crc32.Checksum(body, castagnoli); got != want {
		return nil, fmt.Errorf("%w, checksum %08x, expected %08x", ErrDamaged, got, want)
	}
	return body, nil
}

// appendHeader appends the header.
func appendHeader(dst []byte, info Info) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint64(dst, info.Revision)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(info.Taken.UnixNano()))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(info.Pattern)))
	dst = append(dst, info.Pattern...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// checkMagic accepts the first bytes of a backup, even if there are too few.
func checkMagic(head []byte) error {
	n := min(len(head), len(magic))
	if n == 0 || string(head[:n]) != magic[:n] {
		return fmt.Errorf("%w, it begins with %q", ErrForeign, head[:n])
	}
	if len(head) < len(magic)+4 {
		return nil // too short; the next read reports it
	}
	if v := binary.LittleEndian.Uint32(head[len(magic):]); v != version {
		return fmt.Errorf("%w, it is %d, this build knows %d", ErrVersion, v, version)
	}
	return nil
}

// parseHeader reads a whole header.
func parseHeader(header []byte) (info Info, err error) {
	body, err := checkSum(header)
	if err != nil {
		return info, err
	}
	info.Version = version
	info.Revision = binary.LittleEndian.Uint64(body[12:])
	info.Taken = time.Unix(0, int64(binary.LittleEndian.Uint64(body[20:])))
	info.Pattern = string(body[headerFixed:])
	if info.Pattern != "" && key.Check(info.Pattern) != nil {
		return info, fmt.Errorf("%w, its pattern is invalid", ErrDamaged)
	}
	return info, nil
}

// appendRecord appends the record of an object.
func appendRecord(dst []byte, path string, envelope []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(path)))
	dst = append(dst, path...)
	dst = binary.AppendUvarint(dst, uint64(len(envelope)))
	return append(dst, envelope...)
}

// cutRecord removes the first record from decompressed records.
func cutRecord(records []byte) (path string, envelope, rest []byte, err error) {
	rawPath, rest, ok := cutField(records)
	if ok {
		envelope, rest, ok = cutField(rest)
	}
	if !ok {
		return "", nil, nil, fmt.Errorf("%w, a record is incomplete", ErrDamaged)
	}
	path = string(rawPath)
	if !key.IsValid(path) || key.HasGlob(path) {
		return "", nil, nil, fmt.Errorf("%w, a record has an invalid path", ErrDamaged)
	}
	return path, envelope, rest, nil
}

// cutField removes a length and the bytes that follow it.
func cutField(data []byte) (field, rest []byte, ok bool) {
	length, width := binary.Uvarint(data)
	if width <= 0 || length > uint64(len(data)-width) {
		return nil, nil, false
	}
	end := width + int(length)
	return data[width:end], data[end:], true
}

// comparePlaces compares paths in the order of a file.
func comparePlaces(a, b string) int {
	if c := strings.Compare(key.Parent(a), key.Parent(b)); c != 0 {
		return c
	}
	return strings.Compare(key.LastIndex(a), key.LastIndex(b))
}

// trailer is the end of a file.
type trailer struct {
	objects, dataBytes uint64
	sum                [sha256.Size]byte
}

// appendCounts appends the part of a trailer that its checksum covers.
func appendCounts(dst []byte, info Info) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(info.Objects))
	return binary.LittleEndian.AppendUint64(dst, uint64(info.DataBytes))
}

// parseTrailer parses a trailer without its leading zero.
func parseTrailer(data []byte) (t trailer, err error) {
	t.objects = binary.LittleEndian.Uint64(data)
	t.dataBytes = binary.LittleEndian.Uint64(data[8:])
	end := data[16+copy(t.sum[:], data[16:]):]
	if !bytes.Equal(end, []byte(endMagic)) {
		return t, fmt.Errorf("%w, its end is not that of a backup", ErrDamaged)
	}
	return t, nil
}
