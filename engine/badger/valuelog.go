package badger

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// The garbage of the value log.
//
// Badger's own collection picks the file with the most garbage, writes what keys name in it anew,
// with the version that it has, and removes the file. Among that are versions that are deleted but
// not dropped by a compaction yet, and written anew they come back: see release.go. So here it
// never has anything to write:
//
//  1. The layer moves what is alive in a file with much garbage, by committing it anew. The entry
//     gets a new version, in order with all others.
//  2. Compactions drop the old versions, sooner or later.
//  3. When no key names anything in the file any more, Badger's collection is called, and just
//     removes it.
//
// A file is a log like those of the tables in memory (wal.go), but for transactions. How much of a
// file is garbage is in the file DISCARD: Badger counts there what compactions dropped.

// valueFile is a file of the value log that is not written any more.
type valueFile struct {
	number  uint32
	size    int64
	garbage int64
}

// valueFiles returns the files of the value log that are not written any more, the one with the
// most garbage first.
func (s *store) valueFiles() ([]valueFile, error) {
	garbage, err := s.readDiscard()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var files []valueFile
	for _, entry := range entries {
		name, isLog := strings.CutSuffix(entry.Name(), ".vlog")
		number, err := strconv.ParseUint(name, 10, 32)
		if !isLog || err != nil {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			continue // removed meanwhile
		}
		files = append(files, valueFile{uint32(number), info.Size(), garbage[uint32(number)]})
	}
	if len(files) == 0 {
		return nil, nil
	}
	newest := slices.MaxFunc(files, func(a, b valueFile) int { return cmp.Compare(a.number, b.number) })
	files = slices.DeleteFunc(files, func(f valueFile) bool { return f == newest })
	slices.SortFunc(files, func(a, b valueFile) int { return cmp.Compare(b.garbage, a.garbage) })
	return files, nil
}

// readDiscard returns how many bytes of garbage Badger counted in each file: pairs of numbers of 8
// bytes, up to the first 0. Badger sorts them while we read: it is no more than a hint.
func (s *store) readDiscard() (map[uint32]int64, error) {
	content, err := os.ReadFile(filepath.Join(s.dir, discardFile))
	if err != nil {
		return nil, err
	}
	garbage := make(map[uint32]int64)
	for ; len(content) >= 16; content = content[16:] {
		number := binary.BigEndian.Uint64(content)
		if number == 0 {
			break
		}
		garbage[uint32(number)] = int64(binary.BigEndian.Uint64(content[8:]))
	}
	return garbage, nil
}

// collectGarbage moves what is alive in files of which at least a share is garbage, and removes the
// files that nothing names any more.
func (s *store) collectGarbage(ctx context.Context, share float64) error {
	if err := s.moveLiving(ctx, share); err != nil {
		return err
	}
	return s.removeDead(ctx)
}

// moveLiving moves what is alive in files of which at least a share is garbage. It moves what is
// alive in those with more garbage than one of them too: as long as they are there, Badger would
// not pick that one.
func (s *store) moveLiving(ctx context.Context, share float64) error {
	files, err := s.valueFiles()
	if err != nil {
		return s.wrap("look at the value log", err)
	}
	last := -1
	for i, file := range files {
		if float64(file.garbage) >= share*float64(file.size) && file.garbage > 0 {
			last = i
		}
	}
	for _, file := range files[:last+1] {
		if s.moved[file.number] {
			continue
		}
		if err := s.moveFile(ctx, file); err != nil {
			return err
		}
		s.moved[file.number] = true
	}
	return nil
}

// moveFile commits what is alive in a file anew.
func (s *store) moveFile(ctx context.Context, file valueFile) error {
	var living []logEntry // keys and versions only
	size := 0
	move := func() error {
		err := s.moveEntries(living)
		living, size = living[:0], 0
		return err
	}
	err := s.eachValue(file.number, func(e logEntry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		version, err := s.versionOf(e.key, latest)
		if err != nil || version != e.version {
			return err
		}
		living, size = append(living, e), size+e.size
		if size < maxPart {
			return nil
		}
		return move()
	})
	if err != nil {
		return err
	}
	return move()
}

// moveEntries commits entries anew that are still the newest of their keys.
func (s *store) moveEntries(entries []logEntry) error {
	if len(entries) == 0 {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	size := int64(0)
	for _, e := range entries {
		size += int64(e.size)
	}
	if err := enginekit.FirstError(s.failure(), s.demand(s.options.MinFree/2+3*size)); err != nil {
		return err
	}
	first, _ := s.view.Load().objects.Bounds()
	return s.guard("move values", func() error {
		for len(entries) > 0 {
			n := 0
			err := s.transact(func(txn *badger.Txn) error {
				for ; n < len(entries); n++ {
					e := entries[n]
					version, err := s.versionOf(e.key, latest)
					if err != nil {
						return err
					}
					if version != e.version || e.key[0] == objectKind && string(e.key) < string(first) {
						continue // overwritten or deleted meanwhile, or to be purged
					}
					value, err := s.valueAt(e.key, latest)
					if err != nil {
						return err
					}
					if len(value) == 0 {
						return fmt.Errorf("the value of the stored key %q cannot be read", e.key)
					}
					err = txn.Set(e.key, value)
					if errors.Is(err, badger.ErrTxnTooBig) && n > 0 {
						return nil
					}
					if err != nil {
						return err
					}
					s.noteLogged(len(value))
				}
				return nil
			})
			if err != nil {
				return err
			}
			entries = entries[n:]
		}
		s.publish(s.view.Load().generation)
		return nil
	})
}

// removeDead removes files that nothing names any more, for as long as it is one of them that
// Badger picks.
func (s *store) removeDead(ctx context.Context) error {
	for {
		if err := enginekit.FirstError(ctx.Err(), s.failure()); err != nil {
			return err
		}
		files, err := s.valueFiles()
		if err != nil {
			return s.wrap("look at the value log", err)
		}
		if len(files) == 0 || files[0].garbage == 0 {
			return nil
		}
		named, err := s.isNamed(ctx, files[0].number)
		if err != nil || named {
			return err
		}
		if err := s.syncValueLog(); err != nil {
			return err
		}
		removed, err := s.removeFile(files[0].number)
		if err != nil || !removed {
			return err
		}
		delete(s.moved, files[0].number)
	}
}

// syncValueLog puts on the disk what was moved, where commits do not do that.
func (s *store) syncValueLog() error {
	if s.options.Durability == DurabilitySync {
		return nil
	}
	names, err := s.listNames(".vlog")
	if err != nil {
		return s.wrap("sync the value log", err)
	}
	for _, name := range names {
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		if err == nil {
			err = enginekit.FirstError(file.Sync(), file.Close())
		}
		if err != nil {
			return s.wrap("sync the value log", err)
		}
	}
	return nil
}

// errNamed ends the reading of a file in which something is named.
var errNamed = errors.New("a key names a value in the file")

// isNamed reports whether a key, at any version, names something in a file.
func (s *store) isNamed(ctx context.Context, number uint32) (bool, error) {
	err := s.eachValue(number, func(e logEntry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		version, err := s.versionOf(e.key, e.version)
		if err == nil && version == e.version {
			return errNamed
		}
		return err
	})
	if errors.Is(err, errNamed) {
		return true, nil
	}
	return false, err
}

// errOtherFile is what Badger's collection is stopped with when it picks another file than expected.
var errOtherFile = errors.New("badger picked another file of the value log")

// removeFile lets Badger remove a file that nothing names, if that is the one that it picks. Badger
// reads the whole file before. Nothing is committed meanwhile, because its collection looks at what
// a commit writes without a lock.
func (s *store) removeFile(number uint32) (removed bool, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.dead.Store(int64(number))
	defer s.dead.Store(0)
	err = s.guard("collect garbage", func() (err error) {
		defer func() {
			if value := recover(); value == errOtherFile {
				err = errOtherFile
			} else if value != nil {
				panic(value)
			}
		}()
		return s.db.RunValueLogGC(leastShare)
	})
	switch {
	case err == nil && s.dead.Load() == int64(number):
		return false, errors.New("badger collected a file of the value log without saying which")
	case err == nil:
		return true, nil
	case errors.Is(err, badger.ErrNoRewrite), errors.Is(err, badger.ErrRejected), errors.Is(err, errOtherFile):
		return false, nil
	}
	return false, err
}

// leastShare is a share of garbage that every file with any garbage has.
const leastShare = 1e-12

// picked is called before Badger's collection reads a file. It stops it, on the layer's own
// goroutine, when that is not the file that is known to be dead.
func (s *store) picked(number int64) {
	if !s.dead.CompareAndSwap(number, 0) {
		panic(errOtherFile)
	}
}

// versionOf returns the version of a key that is there at a version, 0 for none.
func (s *store) versionOf(key []byte, at uint64) (version uint64, err error) {
	err = s.guard("look at the value log", func() error {
		s.reading.RLock()
		defer s.reading.RUnlock()
		txn := s.db.NewTransactionAt(at, false)
		defer txn.Discard()
		item, err := txn.Get(key)
		if err == nil {
			version = item.Version()
		}
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	return version, err
}

// eachValue calls a function with the key, the version and the size of each entry of a file that is
// not written any more, and returns its first error. A file that cannot be read to its end is an
// error: nobody may take what is in it for absent.
func (s *store) eachValue(number uint32, call func(logEntry) error) error {
	registry, err := openRegistry(s.dir, s.db.Opts().EncryptionKey)
	if err != nil {
		return s.wrap("read the value log", err)
	}
	file, err := os.Open(filepath.Join(s.dir, fmt.Sprintf("%06d.vlog", number)))
	if err != nil {
		return s.wrap("read the value log", err)
	}
	err = eachEntry(file, registry, call)
	return enginekit.FirstError(err, s.wrap("read the value log", file.Close()))
}
