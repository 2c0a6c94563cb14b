package pathtree

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unsafe"

	"github.com/oolith-db/oolith/key"
)

// A version and the bytes of its path and data are one allocation, a block. So each write makes one allocation, the
// garbage collector marks one object and looks into none, and a lookup that misses the processor's caches finds the path
// next to the version. A large version has its path and data outside, so a caller that keeps the path does not keep the
// data in memory.

// maxBlock is the size in bytes of the largest block.
const maxBlock = 1024

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

// sizes are the size classes of Go's allocator.
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
	{576, newSized[[576 - versionSize]byte]},
	{640, newSized[[640 - versionSize]byte]},
	{704, newSized[[704 - versionSize]byte]},
	{768, newSized[[768 - versionSize]byte]},
	{896, newSized[[896 - versionSize]byte]},
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
	if len(path)+len(data) > maxInside {
		n := &outsider{path: strings.Clone(path), data: unsafe.String(unsafe.SliceData(data), len(data))}
		n.size = outside
		return &n.Version
	}
	n := newBlock(len(path), data)
	copy(n.insidePath(), path)
	n.index = uint16(strings.LastIndexByte(path, '/') + 1)
	return n
}

// newBlock returns a version with a copy of data, and room for a path.
func newBlock(pathSize int, data json.RawMessage) *Version {
	n := makers[(pathSize+len(data)+makerStep-1)/makerStep]()
	n.size, n.pathSize = uint32(len(data)), uint16(pathSize)
	if len(data) > 0 { // else the address may be that of another block
		copy(unsafe.Slice(n.inside(pathSize), len(data)), data)
	}
	return n
}

// IndexSize is the length of the longest index of a time (key.At).
const IndexSize = len("7fffffffffffffff")

// NewPush returns a version with a copy of data, and room for the path of a push. The '*' of its pattern is the last
// byte. NamedAt sets the path.
func NewPush(pattern string, data json.RawMessage) *Version {
	pathSize := len(pattern) - 1 + IndexSize
	if pathSize+len(data) > maxInside {
		return NewVersion(pattern, data)
	}
	return newBlock(pathSize, data)
}

// NamedAt returns a version from NewPush with the path of a push at a time in Unix nanoseconds. The version has no path
// yet.
func (n *Version) NamedAt(pattern string, t int64) *Version {
	var room [IndexSize + 1]byte // a negative time has a sign
	index := strconv.AppendInt(room[:0], t, 16)
	parent := pattern[:len(pattern)-1]
	if n.size == outside || len(parent)+len(index) != int(n.pathSize) { // it is large, or the time is before 2006
		return newVersion(key.At(pattern, t), n.Data())
	}
	path := n.insidePath()
	copy(path, parent)
	copy(path[len(parent):], index)
	n.index = uint16(len(parent))
	return n
}

// insidePath returns the bytes of the path in the block.
func (n *Version) insidePath() []byte { return unsafe.Slice(n.inside(0), n.pathSize) }

// large returns the block of a version whose size is outside.
func (n *Version) large() *outsider { return (*outsider)(unsafe.Pointer(n)) }

// inside returns the address of a byte of the path and data in the block.
func (n *Version) inside(begin int) *byte {
	return (*byte)(unsafe.Add(unsafe.Pointer(n), versionSize+begin))
}
