package storagetest

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// The methods that make a TwinNode a layer without a store.

// Active reports whether the node is started.
func (n *TwinNode) Active() bool {
	n.twin.mu.Lock()
	defer n.twin.mu.Unlock()
	return n.started
}

// Start makes the node active.
func (n *TwinNode) Start(storage.LayerOptions) error {
	n.twin.mu.Lock()
	defer n.twin.mu.Unlock()
	if n.started {
		return storage.ErrActive
	}
	if n.cut {
		return storage.ErrUnavailable
	}
	n.started = true
	return nil
}

// Close stops the node. The content of the engine remains.
func (n *TwinNode) Close() { n.set(func() { n.started = false }) }

// ID identifies the twin.
func (n *TwinNode) ID() (uint64, error) {
	n.twin.mu.Lock()
	defer n.twin.mu.Unlock()
	return n.twin.id, n.reachLocked()
}

// Load returns a copy of everything.
func (n *TwinNode) Load() (map[string]*meta.Object, error) {
	_, objects, err := n.Mirror(context.Background())
	if err != nil {
		return nil, err
	}
	all := make(map[string]*meta.Object)
	for obj := range objects {
		all[obj.Path] = &obj
	}
	return all, nil
}

// Scan yields the matching objects, in the order of a Scanner.
func (n *TwinNode) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		_, objects, err := n.Mirror(context.Background())
		if err != nil {
			yield(meta.Object{}, err)
			return
		}
		var found []meta.Object
		for obj := range objects {
			if pattern == "" || key.Match(pattern, obj.Path) {
				found = append(found, obj)
			}
		}
		slices.SortFunc(found, func(a, b meta.Object) int {
			return cmp.Or(cmp.Compare(key.Parent(a.Path), key.Parent(b.Path)), cmp.Compare(a.Index, b.Index))
		})
		sequence(found)(yield)
	}
}

// Get returns an object.
func (n *TwinNode) Get(path string) (meta.Object, error) {
	n.twin.mu.Lock()
	defer n.twin.mu.Unlock()
	if err := n.reachLocked(); err != nil {
		return meta.Object{}, err
	}
	if err := exactly(path); err != nil {
		return meta.Object{}, err
	}
	obj, ok := n.twin.objects[path]
	if !ok {
		return meta.Object{}, storage.ErrNotFound
	}
	return obj, nil
}

func exactly(path string) error {
	switch {
	case !key.IsValid(path) && !key.IsSubtree(path):
		return storage.ErrInvalidPath
	case key.HasGlob(path):
		return storage.ErrGlobNotAllowed
	}
	return nil
}

// GetList returns the objects that match a glob, oldest first.
func (n *TwinNode) GetList(pattern string) ([]meta.Object, error) {
	if !key.HasGlob(pattern) {
		return nil, storage.ErrInvalidPattern
	}
	found := []meta.Object{}
	for obj, err := range n.Scan(pattern) {
		if err != nil {
			return nil, err
		}
		found = append(found, obj)
	}
	slices.SortFunc(found, func(a, b meta.Object) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Path, b.Path))
	})
	return found, nil
}

// Set stores an object.
func (n *TwinNode) Set(path string, obj *meta.Object) error {
	if err := exactly(path); err != nil {
		return err
	}
	if obj == nil || len(obj.Data) == 0 {
		return storage.ErrInvalidStorageData
	}
	_, err := n.Propose(context.Background(), &storage.SharedTransaction{Changes: []storage.SharedChange{{Key: path, Object: obj}}})
	return err
}

// Del deletes an object.
func (n *TwinNode) Del(path string) error {
	if _, err := n.Get(path); err != nil {
		return err
	}
	_, err := n.Propose(context.Background(), &storage.SharedTransaction{Changes: []storage.SharedChange{{Key: path}}})
	return err
}

// Keys returns all paths in byte order.
func (n *TwinNode) Keys() ([]string, error) {
	n.twin.mu.Lock()
	defer n.twin.mu.Unlock()
	return slices.Sorted(maps.Keys(n.twin.objects)), n.reachLocked()
}

// Clear removes everything.
func (n *TwinNode) Clear() {
	_, _ = n.Propose(context.Background(), &storage.SharedTransaction{Changes: []storage.SharedChange{{Clear: true}}})
}
