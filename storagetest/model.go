package storagetest

import (
	"slices"

	"github.com/oolith-db/oolith/meta"
)

// Model is the content of a store in its simplest form: a map, with a sort for each list. It is not safe for
// concurrent use.
type Model struct {
	objects map[string]meta.Object
}

// NewModel returns an empty model.
func NewModel() *Model { return &Model{objects: make(map[string]meta.Object)} }

// Put stores an object at its Path.
func (m *Model) Put(obj meta.Object) { m.objects[obj.Path] = obj }

// Get returns the object at a path and whether there is one.
func (m *Model) Get(path string) (meta.Object, bool) {
	obj, ok := m.objects[path]
	return obj, ok
}

// Del deletes the objects that match a path or a pattern and returns their number.
func (m *Model) Del(pattern string) int {
	before := len(m.objects)
	for path := range m.objects {
		if match(pattern, path) {
			delete(m.objects, path)
		}
	}
	return before - len(m.objects)
}

// Clear deletes everything.
func (m *Model) Clear() { clear(m.objects) }

// Keys returns all paths in byte order.
func (m *Model) Keys() []string {
	keys := make([]string, 0, len(m.objects))
	for path := range m.objects {
		keys = append(keys, path)
	}
	slices.Sort(keys)
	return keys
}

// List returns the objects that match a pattern, ascending by Created, ties by Path.
func (m *Model) List(pattern string) []meta.Object {
	list := []meta.Object{}
	for path, obj := range m.objects {
		if match(pattern, path) {
			list = append(list, obj)
		}
	}
	slices.SortFunc(list, byCreated)
	return list
}

// Newest returns the newest limit objects that match a pattern, newest first; all for a limit of 0.
func (m *Model) Newest(pattern string, limit int) []meta.Object {
	list := m.List(pattern)
	slices.Reverse(list)
	return limited(list, limit)
}

// Oldest returns the oldest limit objects that match a pattern, oldest first; all for a limit of 0.
func (m *Model) Oldest(pattern string, limit int) []meta.Object {
	return limited(m.List(pattern), limit)
}

// Range returns the objects that match a pattern and were created between two times, both inclusive, ascending.
func (m *Model) Range(pattern string, from, to int64) []meta.Object {
	return slices.DeleteFunc(m.List(pattern), func(obj meta.Object) bool {
		return obj.Created < from || obj.Created > to
	})
}

// limited returns the first objects of a list; all of them for a limit of 0.
func limited(list []meta.Object, limit int) []meta.Object {
	if limit == 0 || limit > len(list) {
		return list
	}
	return list[:limit]
}
