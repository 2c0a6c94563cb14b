package storage

import (
	"bytes"
	"sync/atomic"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// MemoryLayer is a layer in memory. It can be used on its own or as the memory of a Layered store. Close discards its
// content.
//
// Like every layer it holds objects as given. It returns an expired object until the object is removed; only the
// store hides expired objects.
//
// Get takes no lock and allocates nothing. The cost of a list is that of its result, not of the layer.
type MemoryLayer struct {
	tree atomic.Pointer[pathtree.Tree] // nil while inactive
}

var _ Layer = (*MemoryLayer)(nil)

// NewMemoryLayer returns a memory layer. Start activates it.
func NewMemoryLayer() *MemoryLayer { return &MemoryLayer{} }

// Active reports whether the layer is started.
func (m *MemoryLayer) Active() bool { return m.tree.Load() != nil }

// Start activates the layer with no content, or returns ErrActive.
func (m *MemoryLayer) Start(LayerOptions) error {
	if !m.tree.CompareAndSwap(nil, pathtree.New()) {
		return ErrActive
	}
	return nil
}

// Close discards the content of the layer.
func (m *MemoryLayer) Close() { m.tree.Store(nil) }

// Get returns the object at a path; its Data is shared and read-only.
func (m *MemoryLayer) Get(k string) (meta.Object, error) {
	tree := m.tree.Load()
	if tree == nil {
		return meta.Object{}, failed("get", k, ErrNotActive)
	}
	if n, ok := tree.Stored(k); ok {
		return n.Object(), nil
	}
	if err := checkKey(k); err != nil {
		return meta.Object{}, failed("get", k, err)
	}
	return meta.Object{}, failed("get", k, ErrNotFound)
}

// GetList returns the objects that match a glob, ascending by Created, ties by Path.
func (m *MemoryLayer) GetList(path string) ([]meta.Object, error) {
	tree := m.tree.Load()
	if tree == nil {
		return nil, failed("list", path, ErrNotActive)
	}
	if err := checkPattern(path); err != nil {
		return nil, failed("list", path, err)
	}
	q := pathtree.Everything(path)
	q.At = pathtree.Always
	return copyObjects(tree.Select(q)), nil
}

// Set stores a copy of an object at a path.
func (m *MemoryLayer) Set(k string, obj *meta.Object) error {
	tree := m.tree.Load()
	if tree == nil {
		return failed("set", k, ErrNotActive)
	}
	if err := checkKey(k); err != nil {
		return failed("set", k, err)
	}
	if obj == nil || len(obj.Data) == 0 {
		return failed("set", k, ErrInvalidStorageData)
	}
	o := *obj
	o.Path, o.Index = k, key.LastIndex(k)
	tree.PutAt(tree.Find(k), pathtree.NewVersion(k, obj.Data), &o)
	return nil
}

// Del deletes the object at a path, or returns ErrNotFound.
func (m *MemoryLayer) Del(k string) error {
	tree := m.tree.Load()
	if tree == nil {
		return failed("del", k, ErrNotActive)
	}
	if err := checkKey(k); err != nil {
		return failed("del", k, err)
	}
	if !tree.Delete(k) {
		return failed("del", k, ErrNotFound)
	}
	return nil
}

// Keys returns all paths in byte order.
func (m *MemoryLayer) Keys() ([]string, error) {
	tree := m.tree.Load()
	if tree == nil {
		return nil, failed("keys", "", ErrNotActive)
	}
	return tree.Paths(pathtree.Always), nil
}

// Clear deletes everything atomically.
func (m *MemoryLayer) Clear() {
	if tree := m.tree.Load(); tree != nil {
		tree.Clear()
	}
}

// Len returns the number of objects.
func (m *MemoryLayer) Len() int {
	if tree := m.tree.Load(); tree != nil {
		return tree.Len()
	}
	return 0
}

// copyData returns a copy whose capacity is its length, so that an append never writes into shared memory.
func copyData(data []byte) []byte { return bytes.Clone(data)[:len(data):len(data)] }

// copyObjects returns the objects by value. They share their Data.
func copyObjects(versions []*pathtree.Version) []meta.Object {
	objects := make([]meta.Object, len(versions))
	for i, n := range versions {
		n.CopyTo(&objects[i])
	}
	return objects
}
