package pathtree

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"unsafe"
)

// A version and the bytes of its path and data are one allocation, a block. So each write makes one allocation, the
// garbage collector visits one object instead of three, and a lookup that misses the processor's caches finds the path
// next to the version. A large version has its path and data outside, so a caller that keeps the path does not keep the
// data in memory.

// maxBlock is the size in bytes of the largest block.
const maxBlock = 1024 - 8

// outside is the size of a version with path and data outside its block.
const outside = math.MaxUint32

// outsider is the block of a version with path and data outside it.
type outsider struct {
	Version
	path string
	data string
}

// makerStep is the step of makers, the smallest difference between the allocator's size classes.
const makerStep = 16

// maxInside is the greatest number of bytes of path and data in a block.
const maxInside = (maxBlock - versionSize) / makerStep * makerStep

const versionSize = int(unsafe.Sizeof(Version{}))

// sized is a block with room for an array of bytes.
type sized[Bytes any] struct {
	Version
	_ Bytes
}

func newSized[Bytes any]() *Version { return &new(sized[Bytes]).Version }

// makers creates blocks for each number of bytes, in steps.
var makers = func() (all [maxInside/makerStep + 1]func() *Version) {
	for i, size := 0, 0; i < len(all); i++ {
		for sizes[size].size < versionSize+i*makerStep {
			size++
		}
		all[i] = sizes[size].make
	}
	return all
}()

// sizes are the size classes of Go's allocator, which uses 8 of the bytes itself for sizes of 512 or more.
var sizes = []struct {
	size int
	make func() *Version
}{
	{64, newSized[[64 - versionSize]byte]},
	{80, newSized[[80 - versionSize]byte]},
	{96, newSized[[96 - versionSize]byte]},
	{112, newSized[[112 - versionSize]byte]},
	{128, newSized[[128 - versionSize]byte]},
	{144, newSized[[144 - versionSize]byte]},
	{160, newSized[[160 - versionSize]byte]},
	{176, newSized[[176 - versionSize]byte]},
	{192, newSized[[192 - versionSize]byte]},
	{208, newSized[[208 - versionSize]byte]},
	{224, newSized[[224 - versionSize]byte]},
	{240, newSized[[240 - versionSize]byte]},
	{256, newSized[[256 - versionSize]byte]},
	{288, newSized[[288 - versionSize]byte]},
	{320, newSized[[320 - versionSize]byte]},
	{352, newSized[[352 - versionSize]byte]},
	{384, newSized[[384 - versionSize]byte]},
	{416, newSized[[416 - versionSize]byte]},
	{448, newSized[[448 - versionSize]byte]},
	{480, newSized[[480 - versionSize]byte]},
	{512, newSized[[512 - versionSize]byte]},
	{568, newSized[[568 - versionSize]byte]},
	{632, newSized[[632 - versionSize]byte]},
	{696, newSized[[696 - versionSize]byte]},
	{760, newSized[[760 - versionSize]byte]},
	{888, newSized[[888 - versionSize]byte]},
	{maxBlock, newSized[[maxBlock - versionSize]byte]},
}

// NewVersion returns a version with a copy of a path and of data. Nothing else of it is set.
func NewVersion(path string, data json.RawMessage) *Version {
	if len(path)+len(data) > maxInside {
		data = bytes.Clone(data)
	}
	return newVersion(path, data)
}

// newVersion is NewVersion, but keeps large data without a copy.
func newVersion(path string, data json.RawMessage) *Version {
	length := len(path) + len(data)
	if length > maxInside {
		n := &outsider{path: strings.Clone(path), data: unsafe.String(unsafe.SliceData(data), len(data))}
		n.size = outside
		return &n.Version
	}
	n := makers[(length+makerStep-1)/makerStep]()
	n.size, n.pathSize, n.index = uint32(len(data)), uint16(len(path)), uint16(strings.LastIndexByte(path, '/')+1)
	if length > 0 {
		inside := unsafe.Slice(n.inside(0), length)
		copy(inside, path)
		copy(inside[len(path):], data)
	}
	return n
}

// Named returns the version with another path. The version is not shared yet.
func (n *Version) Named(path string) *Version {
	if n.size == outside || len(path) != int(n.pathSize) {
		return newVersion(path, n.Data())
	}
	copy(unsafe.Slice(n.inside(0), len(path)), path)
	n.index = uint16(strings.LastIndexByte(path, '/') + 1)
	return n
}

// large returns the block of a version whose size is outside.
func (n *Version) large() *outsider { return (*outsider)(unsafe.Pointer(n)) }

// inside returns the address of a byte of the path and data in the block.
func (n *Version) inside(begin int) *byte {
	return (*byte)(unsafe.Add(unsafe.Pointer(n), versionSize+begin))
}
