package storagetest

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Disk is a disk in memory: named directories of encoded records that outlive the layers opened on them. The zero
// value is an empty disk.
type Disk struct {
	// mu guards the content of the disk, including its directories.
	mu   sync.RWMutex
	dirs map[string]*directory
}

// directory is the content of a layer on a Disk. Its records are replaced, never changed.
type directory struct {
	records  map[string][]byte
	revision uint64
	inUse    bool
	// id identifies the directory; 0 until it is requested.
	id uint64
	// incomplete is why the content is incomplete; empty if it is complete.
	incomplete string
}

// errInUse is returned by Start on a directory that another layer is open on.
var errInUse = fmt.Errorf("%w; close that one first", storage.ErrInUse)

// Corrupt flips a byte of the stored value of a key.
func (d *Disk) Corrupt(dir, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	record, ok := d.directoryLocked(dir).records[path]
	if !ok {
		return fmt.Errorf("storagetest: directory %q: key %q: %w", dir, path, storage.ErrNotFound)
	}
	record = slices.Clone(record)
	record[len(record)-1] ^= 1
	d.dirs[dir].records[path] = record
	return nil
}

// directoryLocked returns a directory and creates it on first use.
func (d *Disk) directoryLocked(name string) *directory {
	if d.dirs == nil {
		d.dirs = make(map[string]*directory)
	}
	dir, ok := d.dirs[name]
	if !ok {
		dir = &directory{records: make(map[string][]byte)}
		d.dirs[name] = dir
	}
	return dir
}

// PlainLayer is an EmbeddedLayer on a Disk without any optional interface. It tests the store's fallbacks.
type PlainLayer struct {
	disk *Disk
	name string
	// open is the directory while the layer is started, nil otherwise. disk.mu guards it.
	open *directory
}

// NewPlainLayer returns a layer on a directory of a disk.
func NewPlainLayer(disk *Disk, dir string) *PlainLayer {
	return &PlainLayer{disk: disk, name: dir}
}

// BatchLayer is a PlainLayer with the optional interfaces: Batcher, Scanner, SizeHinter, Checker, Compacter and
// IncompleteMarker.
type BatchLayer struct{ PlainLayer }

// NewBatchLayer returns a layer on a directory of a disk.
func NewBatchLayer(disk *Disk, dir string) *BatchLayer {
	return &BatchLayer{PlainLayer{disk: disk, name: dir}}
}

// Active implements storage.Layer.
func (l *PlainLayer) Active() bool {
	l.disk.mu.RLock()
	defer l.disk.mu.RUnlock()
	return l.open != nil
}

// Start implements storage.Layer.
func (l *PlainLayer) Start(opt storage.LayerOptions) error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if l.open != nil {
		return storage.ErrActive
	}
	dir := l.disk.directoryLocked(l.name)
	if dir.inUse {
		return fmt.Errorf("start %q: %w", l.name, errInUse)
	}
	if dir.incomplete != "" && !opt.AllowIncomplete {
		return fmt.Errorf("start %q: %w: %s", l.name, storage.ErrIncomplete, dir.incomplete)
	}
	dir.inUse = true
	l.open = dir
	return nil
}

// Close implements storage.Layer.
func (l *PlainLayer) Close() {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if l.open != nil {
		l.open.inUse = false
		l.open = nil
	}
}

// Get implements storage.Layer.
func (l *PlainLayer) Get(path string) (meta.Object, error) {
	l.disk.mu.RLock()
	defer l.disk.mu.RUnlock()
	if err := l.usableLocked(path); err != nil {
		return meta.Object{}, err
	}
	record, ok := l.open.records[path]
	if !ok {
		return meta.Object{}, storage.ErrNotFound
	}
	return decode(path, record)
}

// GetList implements storage.Layer.
func (l *PlainLayer) GetList(pattern string) ([]meta.Object, error) {
	l.disk.mu.RLock()
	defer l.disk.mu.RUnlock()
	if l.open == nil {
		return nil, storage.ErrNotActive
	}
	if key.Check(pattern) != nil {
		return nil, storage.ErrInvalidPath
	}
	if !key.HasGlob(pattern) {
		return nil, storage.ErrInvalidPattern
	}
	list, err := l.selectLocked(pattern)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, byCreated)
	return list, nil
}

// byCreated orders like lists.
func byCreated(a, b meta.Object) int {
	return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Path, b.Path))
}

// byPlace orders like scans.
func byPlace(a, b meta.Object) int {
	return cmp.Or(cmp.Compare(key.Parent(a.Path), key.Parent(b.Path)), cmp.Compare(a.Index, b.Index))
}

// Set implements storage.Layer.
func (l *PlainLayer) Set(path string, obj *meta.Object) error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if err := l.usableLocked(path); err != nil {
		return err
	}
	if obj == nil || len(obj.Data) == 0 {
		return storage.ErrInvalidStorageData
	}
	l.open.records[path] = encode(obj)
	return nil
}

// Del implements storage.Layer.
func (l *PlainLayer) Del(path string) error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if err := l.usableLocked(path); err != nil {
		return err
	}
	if _, ok := l.open.records[path]; !ok {
		return storage.ErrNotFound
	}
	delete(l.open.records, path)
	return nil
}

// Keys implements storage.Layer.
func (l *PlainLayer) Keys() ([]string, error) {
	l.disk.mu.RLock()
	defer l.disk.mu.RUnlock()
	if l.open == nil {
		return nil, storage.ErrNotActive
	}
	keys := slices.AppendSeq(make([]string, 0, len(l.open.records)), maps.Keys(l.open.records))
	slices.Sort(keys)
	return keys, nil
}

// Clear implements storage.Layer.
func (l *PlainLayer) Clear() {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if l.open != nil {
		clear(l.open.records)
	}
}

// Load implements storage.EmbeddedLayer.
func (l *PlainLayer) Load() (map[string]*meta.Object, error) {
	l.disk.mu.RLock()
	defer l.disk.mu.RUnlock()
	if l.open == nil {
		return nil, storage.ErrNotActive
	}
	list, err := l.selectLocked("")
	if err != nil {
		return nil, err
	}
	all := make(map[string]*meta.Object, len(list))
	for i := range list {
		all[list[i].Path] = &list[i]
	}
	return all, nil
}

// usableLocked checks the path of a call that accepts no glob.
func (l *PlainLayer) usableLocked(path string) error {
	switch {
	case l.open == nil:
		return storage.ErrNotActive
	case !key.IsValid(path):
		return storage.ErrInvalidPath
	case key.HasGlob(path):
		return storage.ErrGlobNotAllowed
	}
	return nil
}

// selectLocked decodes the matches of a pattern, or everything for "", in no particular order.
func (l *PlainLayer) selectLocked(pattern string) ([]meta.Object, error) {
	list := []meta.Object{}
	for path, record := range l.open.records {
		if pattern != "" && !key.Match(pattern, path) {
			continue
		}
		obj, err := decode(path, record)
		if err != nil {
			return nil, err
		}
		list = append(list, obj)
	}
	return list, nil
}

// Commit implements storage.Batcher.
func (l *BatchLayer) Commit(changes []storage.Change) error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if l.open == nil {
		return storage.ErrNotActive
	}
	records, revision := maps.Clone(l.open.records), l.open.revision
	for i, c := range changes {
		switch {
		case c.IsClear() && (c.Key != "" || c.Object != nil):
			return &storage.EntryError{Index: i, Err: fmt.Errorf("a clear with key %q: %w", c.Key, storage.ErrInvalidOptions)}
		case c.IsClear():
			clear(records)
		case !key.IsValid(c.Key) || key.HasGlob(c.Key):
			return &storage.EntryError{Index: i, Err: fmt.Errorf("key %q: %w", c.Key, storage.ErrInvalidPath)}
		case c.Object == nil:
			delete(records, c.Key)
		default:
			records[c.Key] = encode(c.Object)
		}
		revision = max(revision, c.Revision)
	}
	l.open.records, l.open.revision = records, revision
	return nil
}

// LastRevision implements storage.Batcher.
func (l *BatchLayer) LastRevision() (uint64, error) {
	l.disk.mu.RLock()
	defer l.disk.mu.RUnlock()
	if l.open == nil {
		return 0, storage.ErrNotActive
	}
	return l.open.revision, nil
}

// Scan implements storage.Scanner.
func (l *BatchLayer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		list, err := l.snapshot(pattern)
		if err != nil {
			yield(meta.Object{}, err)
			return
		}
		slices.SortFunc(list, byPlace)
		for _, obj := range list {
			if !yield(obj, nil) {
				return
			}
		}
	}
}

// snapshot decodes the matches of a pattern, so a scan holds no lock.
func (l *BatchLayer) snapshot(pattern string) ([]meta.Object, error) {
	l.disk.mu.RLock()
	defer l.disk.mu.RUnlock()
	if l.open == nil {
		return nil, storage.ErrNotActive
	}
	if pattern != "" && key.Check(pattern) != nil {
		return nil, storage.ErrInvalidPath
	}
	return l.selectLocked(pattern)
}

// SizeHint implements storage.SizeHinter.
func (l *BatchLayer) SizeHint() int {
	l.disk.mu.RLock()
	defer l.disk.mu.RUnlock()
	if l.open == nil {
		return 0
	}
	return len(l.open.records)
}

// recordHeader is the length of a record before the data: a CRC-32 of the rest, Created, Updated, Revision and
// Expires, all big-endian.
const recordHeader = 4 + 4*8

// encode returns the record of an object. It shares nothing with the object.
func encode(obj *meta.Object) []byte {
	record := make([]byte, 4, recordHeader+len(obj.Data))
	record = binary.BigEndian.AppendUint64(record, uint64(obj.Created))
	record = binary.BigEndian.AppendUint64(record, uint64(obj.Updated))
	record = binary.BigEndian.AppendUint64(record, obj.Revision)
	record = binary.BigEndian.AppendUint64(record, uint64(obj.Expires))
	record = append(record, obj.Data...)
	binary.BigEndian.PutUint32(record, crc32.ChecksumIEEE(record[4:]))
	return record
}

// decode is the inverse of encode. The object shares nothing with the record.
func decode(path string, record []byte) (meta.Object, error) {
	if len(record) <= recordHeader || binary.BigEndian.Uint32(record) != crc32.ChecksumIEEE(record[4:]) {
		return meta.Object{}, fmt.Errorf("storagetest: key %q: the stored record is corrupt: %w", path, storage.ErrUndecodable)
	}
	data := make([]byte, len(record)-recordHeader)
	copy(data, record[recordHeader:])
	return meta.Object{
		Created:  int64(binary.BigEndian.Uint64(record[4:])),
		Updated:  int64(binary.BigEndian.Uint64(record[12:])),
		Revision: binary.BigEndian.Uint64(record[20:]),
		Expires:  int64(binary.BigEndian.Uint64(record[28:])),
		Path:     path,
		Index:    key.LastIndex(path),
		Data:     data,
	}, nil
}
