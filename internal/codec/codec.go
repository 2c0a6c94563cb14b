// Package codec is the binary form in which an engine stores one object: a versioned envelope around the data, with a
// checksum.
//
// # Format, version 1
//
// All integers are little-endian.
//
//	offset  size  field
//	     0     1  version, 1
//	     1     4  checksum: CRC-32C of the path, then of all bytes after offset 4
//	     5     8  created, Unix nanoseconds, two's complement
//	    13     8  updated, the same
//	    21     8  revision
//	    29  1-10  expires, Unix nanoseconds, 0 for never: varint as in encoding/binary
//	    30+  1-5  length of the data: unsigned varint
//	    31+       the data, nothing after it
//
// The path is not stored, because it is the key. The checksum includes it and so detects a value under a wrong key.
// Created and Updated have a fixed width: the times of a real clock take nine bytes as varints too, and an engine's
// block compression removes the zeros. Expires is a varint, because few objects expire.
//
// CRC-32C is the checksum of iSCSI (RFC 3720, appendix B.4), with the Castagnoli polynomial. Processors compute it in
// hardware.
package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
	"strings"
	"unsafe"

	"github.com/oolith-db/oolith/meta"
)

// The errors of Decode, wrapped with the path and details.
var (
	// ErrVersion is an envelope of a version that this build does not know.
	ErrVersion = errors.New("unknown version of the stored object")
	// ErrTruncated is an envelope that ends too early.
	ErrTruncated = errors.New("the stored object is cut short")
	// ErrTrailing is an envelope followed by more bytes.
	ErrTrailing = errors.New("the stored object has bytes after its end")
	// ErrChecksum is an envelope whose bytes, or whose key, have changed since it was written.
	ErrChecksum = errors.New("the stored object does not match its checksum")
)

const (
	version = 1

	checksumAt = 1
	bodyAt     = checksumAt + 4
	createdAt  = bodyAt
	updatedAt  = createdAt + 8
	revisionAt = updatedAt + 8
	expiresAt  = revisionAt + 8
)

// MaxData is the greatest length of data that an envelope can hold.
const MaxData = math.MaxInt32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Size returns the number of bytes that Append adds for an object.
func Size(obj *meta.Object) int {
	// A varint is zigzag coded: the sign takes the lowest bit.
	zigzag := uint64(obj.Expires)<<1 ^ uint64(obj.Expires>>63)
	return expiresAt + widthOf(zigzag) + widthOf(uint64(len(obj.Data))) + len(obj.Data)
}

// widthOf returns the number of bytes of an unsigned varint: seven bits each.
func widthOf(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

// Append appends the envelope of obj, stored at path, to dst and returns the extended slice. It ignores the object's
// own Path and Index. The data is copied and must not exceed MaxData.
func Append(dst []byte, path string, obj *meta.Object) []byte {
	start := len(dst)
	dst = append(dst, version, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(obj.Created))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(obj.Updated))
	dst = binary.LittleEndian.AppendUint64(dst, obj.Revision)
	dst = binary.AppendVarint(dst, obj.Expires)
	dst = binary.AppendUvarint(dst, uint64(len(obj.Data)))
	dst = append(dst, obj.Data...)
	envelope := dst[start:]
	binary.LittleEndian.PutUint32(envelope[checksumAt:], checksum(path, envelope[bodyAt:]))
	return dst
}

// Decode returns the object at path from its envelope. The data is copied once, with its capacity clipped. value is not
// kept. Index shares the memory of path.
func Decode(path string, value []byte) (meta.Object, error) {
	if len(value) == 0 {
		return meta.Object{}, fail(path, ErrTruncated, "it is empty")
	}
	if value[0] != version {
		return meta.Object{}, fail(path, ErrVersion, "it is %d, this build knows up to %d", value[0], version)
	}
	if len(value) <= expiresAt {
		return meta.Object{}, fail(path, ErrTruncated, "it has %d bytes, the header alone takes more", len(value))
	}
	expires, width := binary.Varint(value[expiresAt:])
	if width < 0 {
		return meta.Object{}, fail(path, ErrChecksum, "the time it expires at is out of range")
	}
	lengthAt := expiresAt + width
	length, width := binary.Uvarint(value[lengthAt:])
	if width < 0 || length > MaxData {
		return meta.Object{}, fail(path, ErrChecksum, "the length of its data is out of range")
	}
	if width == 0 {
		return meta.Object{}, fail(path, ErrTruncated, "it ends before the length of its data")
	}
	data := value[lengthAt+width:]
	switch {
	case uint64(len(data)) < length:
		return meta.Object{}, fail(path, ErrTruncated, "%d of %d bytes of data are there", len(data), length)
	case uint64(len(data)) > length:
		return meta.Object{}, fail(path, ErrTrailing, "%d of them", uint64(len(data))-length)
	}
	want := binary.LittleEndian.Uint32(value[checksumAt:])
	if got := checksum(path, value[bodyAt:]); got != want {
		return meta.Object{}, fail(path, ErrChecksum, "computed %08x, stored %08x", got, want)
	}
	copied := make([]byte, len(data))
	copy(copied, data)
	return meta.Object{
		Created:  int64(binary.LittleEndian.Uint64(value[createdAt:])),
		Updated:  int64(binary.LittleEndian.Uint64(value[updatedAt:])),
		Revision: binary.LittleEndian.Uint64(value[revisionAt:]),
		Expires:  expires,
		Path:     path,
		Index:    path[strings.LastIndexByte(path, '/')+1:],
		Data:     copied,
	}, nil
}

// checksum covers the path and all bytes after the checksum itself.
func checksum(path string, body []byte) uint32 {
	// crc32 only reads, and []byte(path) would cost an allocation for each object.
	sum := crc32.Update(0, castagnoli, unsafe.Slice(unsafe.StringData(path), len(path)))
	return crc32.Update(sum, castagnoli, body)
}

func fail(path string, err error, format string, args ...any) error {
	return fmt.Errorf("key %q: %w: %s", path, err, fmt.Sprintf(format, args...))
}
