// Package jsonlog is a persistent layer of two hundred and fifty lines: a log of JSON in one file, synced before a
// change is acknowledged and replayed at Start. It is the example of docs/writing-an-engine.md and passes storagetest.
//
// All objects are also in memory, and the file grows with every change.
package jsonlog

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Layer is a persistent layer in a file.
type Layer struct {
	path string

	// write guards the fields below. A write holds it until it is durable and in memory.
	write    sync.Mutex
	file     file   // nil while not active
	size     int64  // the length of its acknowledged lines
	revision uint64 // the highest in these lines
	failed   error  // why the layer rejects writes; nil while it accepts them

	// mu guards objects, the content of the log; nil while not active. It is acquired after write, and never held
	// during a call of the file.
	mu      sync.RWMutex
	objects map[string]meta.Object
}

var _ storage.EmbeddedLayer = (*Layer)(nil)

// New returns a layer on the file log.jsonl of a directory, which must exist.
func New(dir string) *Layer { return &Layer{path: filepath.Join(dir, "log.jsonl")} }

// Start implements storage.Layer.
func (l *Layer) Start(storage.LayerOptions) error {
	l.write.Lock()
	defer l.write.Unlock()
	if l.file != nil {
		return storage.ErrActive
	}
	f, err := openExclusive(l.path)
	if err != nil {
		return fmt.Errorf("jsonlog: open %s: %w", l.path, err)
	}
	l.size, l.revision, l.failed = 0, 0, nil
	objects, err := l.replay(f)
	if err != nil {
		return fmt.Errorf("jsonlog: open %s: %w", l.path, cmp.Or(err, f.Close()))
	}
	l.file = f
	l.publish(objects)
	return nil
}

// Close implements storage.Layer.
func (l *Layer) Close() {
	l.write.Lock()
	defer l.write.Unlock()
	if l.file != nil {
		_ = l.file.Close() // everything acknowledged is on disk already
		l.file = nil
		l.publish(nil)
	}
}

// publish makes objects visible to readers; nil makes the layer inactive.
func (l *Layer) publish(objects map[string]meta.Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects = objects
}

// entry is one change in the log: an object, or its removal if there is no data.
type entry struct {
	meta.Object
	// Data hides the Data of the object. It is in base64, because JSON within JSON would be reformatted.
	Data []byte `json:"data"`
	// Commit is the revision of a change in a batch.
	Commit uint64 `json:"commit,omitempty"`
}

// everything is the path in the entry of a clear.
const everything = "*"

// encode returns an entry as text: a checksum, a path, and JSON, with a space between them.
func encode(path string, e entry) (string, error) {
	raw, err := json.Marshal(e)
	text := path + " " + string(raw)
	return checksum(text) + " " + text, err
}

// decode is the inverse of encode. It returns the path even with an error.
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

// replay reads the log. It removes an incomplete last line, which was never acknowledged: a crash interrupted its
// write.
func (l *Layer) replay(f file) (map[string]meta.Object, error) {
	objects := make(map[string]meta.Object)
	lines := bufio.NewReader(f)
	for number := 1; ; number++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return objects, cmp.Or(f.Truncate(l.size), f.Sync())
		}
		if err != nil {
			return nil, err
		}
		for text := range strings.SplitSeq(strings.TrimSuffix(line, "\n"), "\t") {
			path, e, err := decode(text)
			if err != nil {
				return nil, fmt.Errorf("line %d, key %q: %w", number, path, err)
			}
			l.revision = max(l.revision, e.Commit)
			apply(objects, path, e)
		}
		l.size += int64(len(line))
	}
}

// apply makes a change in memory.
func apply(objects map[string]meta.Object, path string, e entry) {
	switch {
	case path == everything:
		clear(objects)
	case e.Data == nil:
		delete(objects, path)
	default:
		obj := e.Object
		obj.Path, obj.Index, obj.Data = path, key.LastIndex(path), slices.Clip(e.Data)
		objects[path] = obj
	}
}

// change makes one change, in the log and then in memory.
func (l *Layer) change(path string, e entry) error {
	text, err := encode(path, e)
	if err == nil {
		err = l.append(text)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	apply(l.objects, path, e)
	return nil
}

// append returns once a line is on disk. After an error the log is unchanged. If that cannot be ensured, the layer
// rejects all further writes.
func (l *Layer) append(line string) error {
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
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.accepts(path); err != nil {
		return err
	}
	if obj == nil || len(obj.Data) == 0 {
		return fmt.Errorf("jsonlog: path %q: %w", path, storage.ErrInvalidStorageData)
	}
	return l.change(path, entry{Object: *obj, Data: bytes.Clone(obj.Data)})
}

// accepts returns an error for an invalid path, and if the layer is not active.
func (l *Layer) accepts(path string) error {
	if _, err := l.Get(path); !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return nil
}

// Del implements storage.Layer.
func (l *Layer) Del(path string) error {
	l.write.Lock()
	defer l.write.Unlock()
	if _, err := l.Get(path); err != nil {
		return err
	}
	return l.change(path, entry{})
}

// Clear implements storage.Layer. It cannot return an error; the next write returns it.
func (l *Layer) Clear() {
	l.write.Lock()
	defer l.write.Unlock()
	if l.file != nil {
		l.failed = cmp.Or(l.failed, l.change(everything, entry{}))
	}
}

// Active implements storage.Layer.
func (l *Layer) Active() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.objects != nil
}

// Get implements storage.Layer.
func (l *Layer) Get(path string) (meta.Object, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	obj, ok := l.objects[path]
	var err error
	switch {
	case l.objects == nil:
		err = storage.ErrNotActive
	case !key.IsValid(path):
		err = storage.ErrInvalidPath
	case key.HasGlob(path):
		err = storage.ErrGlobNotAllowed
	case !ok:
		err = storage.ErrNotFound
	default:
		return obj, nil
	}
	return meta.Object{}, fmt.Errorf("jsonlog: path %q: %w", path, err)
}

// GetList implements storage.Layer.
func (l *Layer) GetList(pattern string) ([]meta.Object, error) {
	all, err := l.Load()
	switch {
	case err != nil:
		return nil, err
	case key.Check(pattern) != nil:
		return nil, fmt.Errorf("jsonlog: pattern %q: %w", pattern, storage.ErrInvalidPath)
	case !key.HasGlob(pattern):
		return nil, fmt.Errorf("jsonlog: pattern %q: %w", pattern, storage.ErrInvalidPattern)
	}
	list := []meta.Object{}
	for path, obj := range all {
		if key.Match(pattern, path) {
			list = append(list, *obj)
		}
	}
	slices.SortFunc(list, func(a, b meta.Object) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.Path, b.Path))
	})
	return list, nil
}

// Keys implements storage.Layer.
func (l *Layer) Keys() ([]string, error) {
	all, err := l.Load()
	paths := make([]string, 0, len(all))
	for path := range all {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths, err
}

// Load implements storage.EmbeddedLayer.
func (l *Layer) Load() (map[string]*meta.Object, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.objects == nil {
		return nil, storage.ErrNotActive
	}
	all := make(map[string]*meta.Object, len(l.objects))
	for path, obj := range l.objects {
		all[path] = &obj
	}
	return all, nil
}
