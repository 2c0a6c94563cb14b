package storage_test

import (
	"encoding/json"
	"fmt"
	"log"
	"slices"
	"sort"
	"sync"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// jsonLayer is a persistent layer written with the names of older adapters: each entry is an object as JSON.
type jsonLayer struct {
	mu      sync.RWMutex // guards the fields below
	active  bool
	entries map[string][]byte // stands for the database, and outlives Close
}

var _ storage.EmbeddedLayer = (*jsonLayer)(nil)

func (l *jsonLayer) Active() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.active
}

func (l *jsonLayer) Start(storage.LayerOptions) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active {
		return storage.ErrActive
	}
	if l.entries == nil {
		l.entries = make(map[string][]byte)
	}
	l.active = true
	return nil
}

func (l *jsonLayer) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = false
}

// check is what every call on one path demands.
func (l *jsonLayer) check(path string) error {
	switch {
	case !l.active:
		return storage.ErrNotActive
	case key.HasGlob(path):
		return storage.ErrGlobNotAllowed
	case !key.IsValid(path):
		return storage.ErrInvalidPath
	}
	return nil
}

func (l *jsonLayer) Get(path string) (meta.Object, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.check(path); err != nil {
		return meta.Object{}, err
	}
	entry, ok := l.entries[path]
	if !ok {
		return meta.Object{}, storage.ErrNotFound
	}
	return decodeEntry(path, entry)
}

func decodeEntry(path string, entry []byte) (meta.Object, error) {
	obj, err := meta.Decode(entry)
	if err != nil {
		return meta.Object{}, fmt.Errorf("%w: %q: %w", storage.ErrUndecodable, path, err) // never skipped
	}
	obj.Path, obj.Index = path, key.LastIndex(path)
	return obj, nil
}

func (l *jsonLayer) GetList(pattern string) ([]meta.Object, error) {
	if !key.HasGlob(pattern) {
		return nil, storage.ErrInvalidPattern
	}
	if err := key.Check(pattern); err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrInvalidPath, err)
	}
	loaded, err := l.Load()
	if err != nil {
		return nil, err
	}
	list := []meta.Object{}
	for path, obj := range loaded {
		if key.Match(pattern, path) {
			list = append(list, *obj)
		}
	}
	sort.Slice(list, meta.SortAsc(list))
	return list, nil
}

func (l *jsonLayer) Set(path string, obj *meta.Object) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(path); err != nil {
		return err
	}
	if obj == nil || len(obj.Data) == 0 {
		return storage.ErrInvalidStorageData
	}
	entry := meta.New(obj)
	if entry == nil {
		return storage.ErrInvalidStorageData
	}
	l.entries[path] = entry
	return nil
}

func (l *jsonLayer) Del(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(path); err != nil {
		return err
	}
	if _, ok := l.entries[path]; !ok {
		return storage.ErrNotFound
	}
	delete(l.entries, path)
	return nil
}

func (l *jsonLayer) Keys() ([]string, error) {
	loaded, err := l.Load()
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(loaded))
	for path := range loaded {
		keys = append(keys, path)
	}
	slices.Sort(keys)
	return keys, nil
}

func (l *jsonLayer) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active {
		clear(l.entries)
	}
}

func (l *jsonLayer) Load() (map[string]*meta.Object, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.active {
		return nil, storage.ErrNotActive
	}
	loaded := make(map[string]*meta.Object, len(l.entries))
	for path, entry := range l.entries {
		obj, err := decodeEntry(path, entry)
		if err != nil {
			return nil, err
		}
		loaded[path] = &obj
	}
	return loaded, nil
}

// An adapter of a database, written with the names that older adapters use, is a persistent layer.
func ExampleEmbeddedLayer_adapter() {
	layer := &jsonLayer{}
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Persistent: layer})
	if err := store.Start(storage.Options{}); err != nil {
		log.Fatal(err)
	}
	if _, err := store.SetWithMeta("notes/1", json.RawMessage(`{"text":"rain"}`), 1, 2); err != nil {
		log.Fatal(err)
	}
	store.Close()

	if err := store.Start(storage.Options{}); err != nil { // reads what the layer has
		log.Fatal(err)
	}
	defer store.Close()
	note, err := store.Get("notes/1")
	fmt.Println(string(note.Data), note.Created, note.Updated, err)
	// Output:
	// {"text":"rain"} 1 2 <nil>
}
