package sqlite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	sqlite3 "github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// image is what a database is with its write-ahead log, as it would be once the log was moved into the file:
// SQLite reads it as a file that nobody changes. It needs no index of the log on the disk, takes no lock and makes
// no file, so that it is for disks that are read-only, and for a look at a store before anything of it is
// touched. Nobody may write to the database meanwhile.
//
// Others read a database with a log through SQLite's own index (FILE-shm), for which SQLite has to write. To copy
// the whole into memory would take memory as the store is large.
type image struct {
	file, log *os.File // log is nil when there is none
	logIndex
	length int64
}

// openImage opens the image of a database. It is safe for any number of connections.
func openImage(path string) (_ *image, err error) {
	i := &image{}
	defer func() {
		if err != nil {
			err = enginekit.FirstError(err, i.close())
		}
	}()
	if i.file, err = os.Open(path); err != nil {
		return nil, err
	}
	info, err := i.file.Stat()
	if err != nil {
		return nil, err
	}
	i.length = info.Size()
	i.log, err = os.Open(path + logSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return i, nil
	}
	if err != nil {
		return nil, err
	}
	if i.logIndex, err = indexLog(bufio.NewReaderSize(i.log, 1<<20)); err != nil {
		return nil, err
	}
	if len(i.pages) > 0 {
		i.length = int64(i.count) * int64(i.pageSize)
	}
	return i, nil
}

func (i *image) close() error {
	var errs []error
	for _, file := range []*os.File{i.file, i.log} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return enginekit.FirstError(errs...)
}

// ReadAt implements io.ReaderAt, with what the log holds in the place of what the file holds.
func (i *image) ReadAt(p []byte, at int64) (n int, err error) {
	if len(i.pages) == 0 {
		return i.file.ReadAt(p, at)
	}
	for n < len(p) && err == nil {
		if at >= i.length {
			return n, io.EOF
		}
		size := int64(i.pageSize)
		within := at % size
		part := p[n:min(len(p), n+int(size-within))]
		if place, logged := i.pages[uint32(at/size)+1]; logged {
			_, err = i.log.ReadAt(part, place+within)
		} else {
			_, err = i.file.ReadAt(part, at)
		}
		if err == nil {
			n, at = n+len(part), at+int64(len(part))
		}
	}
	return n, err
}

// imageFile is an image as a file of SQLite.
type imageFile struct{ *image }

func (f imageFile) Size() (int64, error)             { return f.length, nil }
func (imageFile) Close() error                       { return nil }
func (imageFile) WriteAt([]byte, int64) (int, error) { return 0, sqlite3.READONLY }
func (imageFile) Truncate(int64) error               { return sqlite3.READONLY }
func (imageFile) Sync(vfs.SyncFlag) error            { return nil }
func (imageFile) Lock(vfs.LockLevel) error           { return nil }
func (imageFile) Unlock(vfs.LockLevel) error         { return nil }
func (imageFile) CheckReservedLock() (bool, error)   { return false, nil }
func (imageFile) SectorSize() int                    { return 0 }
func (imageFile) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return vfs.IOCAP_IMMUTABLE | vfs.IOCAP_SUBPAGE_READ
}

// logIndex is where a log has the newest version of each page, up to its last commit, and how many
// pages the database has with it.
type logIndex struct {
	pages    map[uint32]int64
	count    uint32
	pageSize int
	salt     string // of the log; empty when it has no header
	frames   int    // that fit
}

// indexLog reads a log as SQLite does: up to the first frame that does not fit.
func indexLog(log io.Reader) (index logIndex, err error) {
	header := make([]byte, logHeaderSize)
	if _, err := io.ReadFull(log, header); err != nil {
		return index, ended(err)
	}
	order, size, ok := logForm(header)
	sum := logSum{order: order}
	if !ok || sum.add(header[:headerSumAt]) != readSum(header[headerSumAt:]) {
		return index, nil
	}
	index.pages, index.pageSize, index.salt = map[uint32]int64{}, size, string(header[headerSaltAt:headerSumAt])
	since := map[uint32]int64{} // the last commit
	frame := make([]byte, frameHeader+size)
	for at := int64(logHeaderSize); ; at += int64(len(frame)) {
		if _, err := io.ReadFull(log, frame); err != nil {
			return index, ended(err)
		}
		sum.add(frame[:frameSaltAt])
		if string(frame[frameSaltAt:frameSumAt]) != index.salt ||
			sum.add(frame[frameHeader:]) != readSum(frame[frameSumAt:]) {
			return index, nil
		}
		index.frames++
		since[binary.BigEndian.Uint32(frame)] = at + frameHeader
		if count := binary.BigEndian.Uint32(frame[frameCommitAt:]); count != 0 {
			index.count = count
			for page, place := range since {
				index.pages[page] = place
			}
			clear(since)
		}
	}
}

// checkJournal refuses to take an image of a database in which a transaction was cut off that another program,
// or one of SQLite's other modes, keeps in FILE-journal: only SQLite can take it back, by writing.
func checkJournal(path string) error {
	info, err := os.Stat(path + journalSuffix)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("another program was cut off in the middle of a transaction, which %s%s holds; open the file once "+
		"to write, which takes the transaction back", path, journalSuffix)
}
