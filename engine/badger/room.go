package badger

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// The space on the disk.
//
// Badger creates its files with a size and no content, maps them into memory and writes there. On a full disk, such a
// write raises a signal that ends the process. The layer therefore rejects writes before that. It has two limits,
// from Options.MinFree downwards:
//
//	MinFree      a put needs as much, and three times its size (its space in the log,
//	             in a table, in the table that replaces that)
//	MinFree / 4  a delete needs as much, so a full store can be emptied; a compaction needs
//	             as much, and three times the table that it will make
//
// After the last write, memory must still be flushed, at most some memtables of Options.MemTableSize. A compaction of
// eight of them and of everything below them needs space for all its output before it removes its input. On a small
// disk, or with a small MinFree, a memtable is therefore smaller too. A start needs startRoom, and space for the
// content of the logs. Opening a store read-only needs none.
//
// Below the first limit, a memtable can still be flushed, and tables can be merged. The free space falls below the
// last limit only if another program fills the disk.

// errFull is the error of a rejected write; errors.Is(err, syscall.ENOSPC) is true for it.
var errFull = fmt.Errorf("the disk is nearly full; make room, or set the room that is left free (min-free): %w", syscall.ENOSPC)

const (
	// startRoom is for the files that Badger creates when it opens.
	startRoom = 4 << 20
	// MinFree is at most this part of the disk, but at least tablesFree times the minimum MemTableSize.
	diskShare  = 16
	tablesFree = 16
	// spareFiles exceeds the number of tables that compactions can create between two checks of the disk: several
	// compactions pass the gate at the same time.
	spareFiles = 64
)

// scaled adapts the reserved free space to the size of a disk, 0 if unknown, and the memtables to that space.
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

// room is the free space of a file system.
type room struct {
	known   bool
	bytes   int64
	total   int64 // the size of the disk
	noFiles bool  // fewer than spareFiles further files can be created
}

// lookAtRoom asks the file system, or a test hook.
func (s *store) lookAtRoom() (room, error) {
	if s.options.hooks.room != nil {
		return s.options.hooks.room()
	}
	return lookAtRoom(s.dir)
}

// demand returns errFull if less space is left than needed.
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
		return fmt.Errorf("%w (it takes fewer than %d further files)", errFull, spareFiles)
	case left.bytes < needed:
		return fmt.Errorf("%w (%d MiB are left, expected %d MiB)", errFull, left.bytes>>20, (needed+1<<20-1)>>20)
	}
	return nil
}

// admit rejects changes if one of them is too large, or if the disk has no space for them. Nothing is written by
// then: the rejection is one of a single entry, after which a store continues.
func (s *store) admit(changes []storage.Change) *storage.EntryError {
	var size int64
	first := -1 // the first change that adds data
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

// entryOverhead is the approximate overhead of an entry besides its key and value.
const entryOverhead = 64

// probeFile is created and removed again to test whether a file can be created.
const probeFile = "PROBE"

// demandTable returns an error if a table of the given size could not be created now.
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
	return cmp.Or(err, file.Close(), os.Remove(name))
}
