// Package jsonlog is a persistent layer in less than two hundred lines: a log of JSON in one
// file, synced before a change is acknowledged and replayed at Start. It is an example,
// gone through in docs/writing-an-engine.md, and passes storagetest.
//
// All objects are in memory too, and the file grows with every change.
package jsonlog

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Layer is a persistent layer in a file.
type Layer struct {
	path   string
	memory atomic.Pointer[storage.MemoryLayer] // answers all reads; not active while the layer is not

	// mu guards the fields below. A write holds it until it is durable and in memory.
	mu       sync.Mutex
	file     file   // nil while not active
	size     int64  // of the acknowledged lines in it
	revision uint64 // the highest of them
	failed   error  // why no more writes are taken
}

var _ storage.EmbeddedLayer = (*Layer)(nil)

// New returns a layer on the file log.jsonl of a directory, which must exist.
func New(dir string) *Layer {
	l := &Layer{path: filepath.Join(dir, "log.jsonl")}
	l.memory.Store(storage.NewMemoryLayer())
	return l
}

// Start implements storage.Layer.
func (l *Layer) Start(opt storage.LayerOptions) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		return storage.ErrActive
	}
	f, err := openExclusive(l.path)
	if err != nil {
		return fmt.Errorf("jsonlog: open %s: %w", l.path, err)
	}
	l.size, l.revision, l.failed = 0, 0, nil
	memory := storage.NewMemoryLayer()
	if err := cmp.Or(memory.Start(opt), l.replay(f, memory)); err != nil {
		return fmt.Errorf("jsonlog: open %s: %w", l.path, cmp.Or(err, f.Close()))
	}
	l.file = f
	l.memory.Store(memory)
	return nil
}

// Close implements storage.Layer.
func (l *Layer) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // what was acknowledged is on the disk: there is nothing to lose
		l.file = nil
		l.memory.Load().Close()
	}
}

// entry is one change in the log: an object, or its removal when there is no data.
type entry struct {
	meta.Object
	// Data stands for that of the object, in base64: JSON within JSON would be reformatted.
	Data []byte `json:"data"`
	// Commit is the revision of a change that came in a batch.
	Commit uint64 `json:"commit,omitempty"`
}

// everything stands where a clear has no path.
const everything = "*"

// encode returns an entry as text: a checksum, a path, and JSON, with a space between them.
func encode(path string, e entry) (string, error) {
	raw, err := json.Marshal(e)
	text := path + " " + string(raw)
	return checksum(text) + " " + text, err
}

// decode is the inverse of encode. It returns the path also with an error.
func decode(text string) (path string, e entry, err error) {
	sum, text, _ := strings.Cut(text, " ")
	path, raw, _ := strings.Cut(text, " ")
	if want := checksum(text); sum != want {
		return path, e, fmt.Errorf("the checksum is %.8q, expected %q", sum, want)
	}
	err = json.Unmarshal([]byte(raw), &e)
	return path, e, err
}

func checksum(text string) string {
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
}

// replay reads the log into memory. A last line without an end was never acknowledged: a
// crash cut it short, and now it is cut off.
func (l *Layer) replay(f file, memory *storage.MemoryLayer) error {
	lines := bufio.NewReader(f)
	for number := 1; ; number++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return cmp.Or(f.Truncate(l.size), f.Sync())
		}
		if err != nil {
			return err
		}
		for text := range strings.SplitSeq(strings.TrimSuffix(line, "\n"), "\t") {
			path, e, err := decode(text)
			if err == nil {
				err = l.apply(memory, path, e)
			}
			if err != nil {
				return fmt.Errorf("line %d, key %q: %w", number, path, err)
			}
		}
		l.size += int64(len(line))
	}
}

// apply makes a change in memory.
func (l *Layer) apply(memory *storage.MemoryLayer, path string, e entry) error {
	l.revision = max(l.revision, e.Commit)
	switch {
	case path == everything:
		memory.Clear()
		return nil
	case e.Data != nil:
		e.Object.Data = e.Data
		return memory.Set(path, &e.Object)
	}
	if err := memory.Del(path); !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return nil
}

// change makes one change, in the log and then in memory.
func (l *Layer) change(path string, e entry) error {
	text, err := encode(path, e)
	if err == nil {
		err = l.write(text)
	}
	if err != nil {
		return err
	}
	return l.apply(l.memory.Load(), path, e)
}

// write returns when a line is on the disk. After an error the log is as it was before; where
// that cannot be brought about, the layer takes no more writes.
func (l *Layer) write(line string) error {
	if l.failed != nil {
		return fmt.Errorf("jsonlog: %s takes no more writes: %w", l.path, l.failed)
	}
	_, err := l.file.WriteAt([]byte(line+"\n"), l.size)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.failed = cmp.Or(l.file.Truncate(l.size), l.file.Sync())
		return fmt.Errorf("jsonlog: write %s: %w", l.path, err)
	}
	l.size += int64(len(line)) + 1
	return nil
}

// Set implements storage.Layer.
func (l *Layer) Set(path string, obj *meta.Object) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.accepts(path); err != nil {
		return err
	}
	if obj == nil || len(obj.Data) == 0 {
		return fmt.Errorf("jsonlog: path %q: %w", path, storage.ErrInvalidStorageData)
	}
	return l.change(path, entry{Object: *obj, Data: obj.Data})
}

// accepts says what is wrong with a path, or that the layer is not active.
func (l *Layer) accepts(path string) error {
	if _, err := l.Get(path); !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return nil
}

// Del implements storage.Layer.
func (l *Layer) Del(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.Get(path); err != nil {
		return err
	}
	return l.change(path, entry{})
}

// Clear implements storage.Layer. It cannot return an error: the next write does.
func (l *Layer) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.failed = cmp.Or(l.failed, l.change(everything, entry{}))
	}
}

// Load implements storage.EmbeddedLayer.
func (l *Layer) Load() (map[string]*meta.Object, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	paths, err := l.Keys()
	if err != nil {
		return nil, err
	}
	all := make(map[string]*meta.Object, len(paths))
	for _, path := range paths {
		obj, err := l.Get(path)
		if err != nil {
			return nil, err
		}
		all[path] = &obj
	}
	return all, nil
}

// Active implements storage.Layer.
func (l *Layer) Active() bool { return l.memory.Load().Active() }

// Get implements storage.Layer.
func (l *Layer) Get(path string) (meta.Object, error) { return l.memory.Load().Get(path) }

// GetList implements storage.Layer.
func (l *Layer) GetList(glob string) ([]meta.Object, error) { return l.memory.Load().GetList(glob) }

// Keys implements storage.Layer.
func (l *Layer) Keys() ([]string, error) { return l.memory.Load().Keys() }
