package badger

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// The room on the disk.
//
// Badger makes its files with a size and no content, maps them into memory and writes there. On a disk that is full,
// such a write is a signal that ends the process. So before it can come to that, the layer takes no more writes. Two
// marks, from Options.MinFree downwards:
//
//	MinFree      a put needs as much, and three times what it brings (its place in the log,
//	             in a table, in the table that replaces that)
//	MinFree / 4  a delete needs as much, so that a full store can be emptied; a compaction needs
//	             as much, and three times the table that it is to make
//
// What is in memory, some tables of Options.MemTableSize at most, is to be put on the disk after the last write, and a
// compaction of eight of them and of what is below them needs room for all that it makes before it removes what it
// read. So on a small disk, or with a small MinFree, such a table is smaller too. A start needs startRoom, and room for
// what is in the logs. Who opens the store to read only needs none.
//
// Below the first mark a table in memory still can be put on the disk, and tables can be merged. Only somebody else who
// fills the disk leads below the last one.

// errFull is what a write is refused with; errors.Is(err, syscall.ENOSPC) holds for it.
var errFull = fmt.Errorf("the disk is nearly full; make room, or set the room that is left free (min-free): %w", syscall.ENOSPC)

const (
	// startRoom is for what Badger makes as it opens.
	startRoom = 4 << 20
	// MinFree is this part of the disk at most, but tablesFree times the least MemTableSize at least.
	diskShare  = 16
	tablesFree = 16
)

// scaled fits the room that is left free to a disk of a size, 0 for unknown, and what is in memory to that room.
func (o Options) scaled(disk int64) Options {
	if o.MinFree == 0 {
		o.MinFree = tablesFree * o.MemTableSize
		if disk > 0 {
			o.MinFree = min(o.MinFree, max(disk/diskShare, tablesFree*leastMemTableSize))
		}
	}
	if o.MinFree > 0 {
		o.MemTableSize = max(min(o.MemTableSize, o.MinFree/tablesFree), leastMemTableSize)
		o.MaxData = min(o.MaxData, int(mostData(o.MemTableSize)))
	}
	return o
}

// room is what a file system has left.
type room struct {
	known   bool
	bytes   int64
	total   int64 // of the whole disk
	noFiles bool  // no further file can be made
}

// lookAtRoom asks the file system, or a test.
func (s *store) lookAtRoom() (room, error) {
	if s.options.hooks.room != nil {
		return s.options.hooks.room()
	}
	return lookAtRoom(s.dir)
}

// demand is an error, errFull, when less is left than is needed.
func (s *store) demand(needed int64) error {
	if s.options.MinFree < 0 {
		return nil
	}
	left, err := s.lookAtRoom()
	switch {
	case err != nil:
		return err
	case !left.known:
		return nil
	case left.noFiles:
		return fmt.Errorf("%w (it can take no further file)", errFull)
	case left.bytes < needed:
		return fmt.Errorf("%w (%d MiB are left, expected %d MiB)", errFull, left.bytes>>20, (needed+1<<20-1)>>20)
	}
	return nil
}

// admit refuses changes of which one is too large, or for which the disk has no room. Nothing is written by then: the
// refusal is one of a single entry, after which a store goes on.
func (s *store) admit(changes []storage.Change) *storage.EntryError {
	var size int64
	first := -1 // the first that brings something
	for i, c := range changes {
		size += int64(len(c.Key)) + entryOverhead
		if c.Object != nil {
			size += int64(enginekit.ObjectSize(c.Object))
			if first < 0 {
				first = i
			}
			if err := enginekit.CheckPut(c.Key, c.Object, s.options.MaxData); err != nil {
				return &storage.EntryError{Index: i, Err: err}
			}
		}
	}
	needed := s.options.MinFree/4 + 3*size
	if first >= 0 {
		needed = s.options.MinFree + 3*size
	}
	if err := s.demand(needed); err != nil {
		return &storage.EntryError{Index: first, Err: s.layer.life.Wrap("write", err)}
	}
	return nil
}

// entryOverhead is about what an entry takes besides its key and value.
const entryOverhead = 64

// probeFile is made and removed again to see whether a file can be made.
const probeFile = "PROBE"

// demandTable is an error when a table of some size could not be made now.
func (s *store) demandTable(size int64) error {
	s.probing.Lock()
	defer s.probing.Unlock()
	if err := s.demand(s.options.MinFree/4 + 3*size); err != nil { // others may be making some too
		return err
	}
	name := filepath.Join(s.dir, probeFile)
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if err = file.Truncate(size); err == nil {
		err = tryToMap(file, int(size))
	}
	return enginekit.FirstError(err, file.Close(), os.Remove(name))
}
