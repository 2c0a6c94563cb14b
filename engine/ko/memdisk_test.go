package ko

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"
)

// memDisk is a disk in memory that can refuse operations and lose power.
//
// Power loss is harsh: of what was written to a file since its sync any part may be there, and
// each entry of the directory is as it is now or as it was at the last sync of the
// directory.
type memDisk struct {
	// refuse is asked before each operation that changes something. A write that it refuses
	// is made in half.
	refuse func(operation) error

	// lock guards the fields below.
	lock    sync.Mutex
	inUse   bool
	live    map[string]*memFile
	durable map[string]*memFile
}

type memFile struct {
	data   []byte
	synced int
}

// operation is what memDisk is asked to do.
type operation struct {
	kind string // create, write, sync, close, rename, meta, note or remove; or syncdir
	name string
}

func newMemDisk() *memDisk {
	return &memDisk{live: map[string]*memFile{}, durable: map[string]*memFile{}}
}

// layer returns a layer on the disk, which needs a directory of its own all the same.
func (d *memDisk) layer(t testing.TB, options Options) *Layer {
	t.Helper()
	l := New(t.TempDir(), options)
	l.lookAt = nil
	l.openDisk = func(string) (disk, error) {
		d.lock.Lock()
		defer d.lock.Unlock()
		if d.inUse {
			return nil, ldbstorage.ErrLocked
		}
		d.inUse = true
		return d, nil
	}
	return l
}

// crashed returns what a disk holds that lost power now.
func (d *memDisk) crashed(rng *rand.Rand) *memDisk {
	d.lock.Lock()
	defer d.lock.Unlock()
	after := newMemDisk()
	names := slices.Collect(maps.Keys(d.live))
	names = slices.AppendSeq(names, maps.Keys(d.durable))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		file := d.durable[name]
		if rng.IntN(2) == 0 {
			file = d.live[name]
		}
		if file == nil {
			continue
		}
		data := bytes.Clone(file.data[:file.synced+rng.IntN(len(file.data)-file.synced+1)])
		if unsynced := data[file.synced:]; rng.IntN(3) == 0 && len(unsynced) > 0 {
			clear(unsynced[rng.IntN(len(unsynced)):]) // a page that was never written
		}
		after.live[name] = &memFile{data: data, synced: len(data)}
	}
	after.durable = maps.Clone(after.live)
	return after
}

func (d *memDisk) ask(kind, name string) error {
	if d.refuse == nil {
		return nil
	}
	return d.refuse(operation{kind, name})
}

// change makes a change of the directory.
func (d *memDisk) change(kind, name string, do func()) error {
	if err := d.ask(kind, name); err != nil {
		return err
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	do()
	return nil
}

func (d *memDisk) Files() (map[string]int64, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	files := map[string]int64{}
	for name, file := range d.live {
		files[name] = int64(len(file.data))
	}
	return files, nil
}

func (d *memDisk) SyncDir() error {
	return d.change("syncdir", "", func() { d.durable = maps.Clone(d.live) })
}

func (d *memDisk) ReadNote(name string) ([]byte, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	file := d.live[name]
	if file == nil {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(file.data), nil
}

func (d *memDisk) WriteNote(name string, content []byte) error {
	err := d.change("note", name, func() {
		d.live[name] = &memFile{data: bytes.Clone(content), synced: len(content)}
	})
	if err != nil {
		return err
	}
	return d.SyncDir()
}

func (d *memDisk) RemoveNote(name string) error {
	if err := d.change("remove", name, func() { delete(d.live, name) }); err != nil {
		return err
	}
	return d.SyncDir()
}

type unlocker struct{}

func (unlocker) Unlock() {}

func (d *memDisk) Lock() (ldbstorage.Locker, error) { return unlocker{}, nil }

func (d *memDisk) Log(string) {}

func (d *memDisk) Close() error {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.inUse = false
	return nil
}

func (d *memDisk) SetMeta(fd ldbstorage.FileDesc) error {
	err := d.change("meta", currentFile, func() {
		data := []byte(fd.String() + "\n")
		d.live[currentFile] = &memFile{data: data, synced: len(data)}
	})
	if err != nil {
		return err
	}
	return d.SyncDir()
}

func (d *memDisk) GetMeta() (ldbstorage.FileDesc, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	current := d.live[currentFile]
	if current == nil {
		return ldbstorage.FileDesc{}, fs.ErrNotExist
	}
	fd, ok := parseName(string(bytes.TrimSpace(current.data)))
	if !ok || d.live[fd.String()] == nil {
		return ldbstorage.FileDesc{}, fs.ErrNotExist
	}
	return fd, nil
}

// parseName reads the name that a FileDesc gives a file.
func parseName(name string) (fd ldbstorage.FileDesc, ok bool) {
	for _, kind := range []ldbstorage.FileType{
		ldbstorage.TypeManifest, ldbstorage.TypeJournal, ldbstorage.TypeTable, ldbstorage.TypeTemp,
	} {
		form := map[ldbstorage.FileType]string{
			ldbstorage.TypeManifest: "MANIFEST-%d", ldbstorage.TypeJournal: "%d.log",
			ldbstorage.TypeTable: "%d.ldb", ldbstorage.TypeTemp: "%d.tmp",
		}[kind]
		fd := ldbstorage.FileDesc{Type: kind}
		if _, err := fmt.Sscanf(name, form, &fd.Num); err == nil && fd.String() == name {
			return fd, true
		}
	}
	return fd, false
}

func (d *memDisk) List(kinds ldbstorage.FileType) ([]ldbstorage.FileDesc, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	var list []ldbstorage.FileDesc
	for name := range d.live {
		if fd, ok := parseName(name); ok && fd.Type&kinds != 0 {
			list = append(list, fd)
		}
	}
	return list, nil
}

type memReader struct{ *bytes.Reader }

func (memReader) Close() error { return nil }

func (d *memDisk) Open(fd ldbstorage.FileDesc) (ldbstorage.Reader, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	file := d.live[fd.String()]
	if file == nil {
		return nil, fs.ErrNotExist
	}
	return memReader{bytes.NewReader(file.data)}, nil
}

func (d *memDisk) Create(fd ldbstorage.FileDesc) (ldbstorage.Writer, error) {
	file := &memFile{}
	err := d.change("create", fd.String(), func() { d.live[fd.String()] = file })
	if err != nil {
		return nil, err
	}
	return &memWriter{disk: d, file: file, fd: fd}, nil
}

func (d *memDisk) Remove(fd ldbstorage.FileDesc) error {
	return d.change("remove", fd.String(), func() { delete(d.live, fd.String()) })
}

func (d *memDisk) Rename(oldfd, newfd ldbstorage.FileDesc) error {
	return d.change("rename", oldfd.String(), func() {
		d.live[newfd.String()] = d.live[oldfd.String()]
		delete(d.live, oldfd.String())
	})
}

type memWriter struct {
	disk *memDisk
	file *memFile
	fd   ldbstorage.FileDesc
}

func (w *memWriter) Write(p []byte) (int, error) {
	err := w.disk.ask("write", w.fd.String())
	if err != nil {
		p = p[:len(p)/2]
	}
	w.disk.lock.Lock()
	defer w.disk.lock.Unlock()
	w.file.data = append(w.file.data, p...)
	return len(p), err
}

// Sync syncs the directory too where LevelDB's own storage does.
func (w *memWriter) Sync() error {
	err := w.disk.change("sync", w.fd.String(), func() { w.file.synced = len(w.file.data) })
	if err == nil && w.fd.Type == ldbstorage.TypeManifest {
		err = w.disk.SyncDir()
	}
	return err
}

func (w *memWriter) Close() error { return w.disk.change("close", w.fd.String(), func() {}) }

// corruptFiles flips bits in a part of the files that match, given as fractions of them.
func (d *memDisk) corruptFiles(t testing.TB, match func(name string) bool, from, to float64) {
	t.Helper()
	d.lock.Lock()
	defer d.lock.Unlock()
	found := false
	for name, file := range d.live {
		if !match(name) || len(file.data) == 0 {
			continue
		}
		found = true
		size := float64(len(file.data))
		for i := int(from * size); i < int(to*size); i++ {
			file.data[i] ^= 0x55
		}
	}
	if !found {
		t.Fatal("no file to corrupt")
	}
}

// countingDisk counts the openings of tables to read.
type countingDisk struct {
	disk
	tables int
}

func (d *countingDisk) Open(fd ldbstorage.FileDesc) (ldbstorage.Reader, error) {
	if fd.Type == ldbstorage.TypeTable {
		d.tables++
	}
	return d.disk.Open(fd)
}
