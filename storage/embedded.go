package storage

import "github.com/oolith-db/oolith/meta"

// EmbeddedWrapper wraps an EmbeddedLayer: every call goes to the wrapped layer, and nothing is cached. A store finds
// the optional interfaces of the wrapped layer through an EmbeddedWrapper (see As). It does not look through a type
// that embeds EmbeddedWrapper, because the methods that such a type overrides must not be bypassed.
type EmbeddedWrapper struct {
	backend EmbeddedLayer
}

var _ EmbeddedLayer = (*EmbeddedWrapper)(nil)

// NewEmbeddedWrapper wraps a layer.
func NewEmbeddedWrapper(backend EmbeddedLayer) *EmbeddedWrapper {
	return &EmbeddedWrapper{backend: backend}
}

// Active reports whether the wrapped layer is started.
func (e *EmbeddedWrapper) Active() bool { return e.backend != nil && e.backend.Active() }

// Start starts the wrapped layer. It returns ErrAllLayersNil if there is none.
func (e *EmbeddedWrapper) Start(opt LayerOptions) error {
	if e.backend == nil {
		return ErrAllLayersNil
	}
	return e.backend.Start(opt)
}

// Close closes the wrapped layer.
func (e *EmbeddedWrapper) Close() {
	if e.backend != nil {
		e.backend.Close()
	}
}

// Get returns the object at an exact path.
func (e *EmbeddedWrapper) Get(key string) (meta.Object, error) {
	if e.backend == nil {
		return meta.Object{}, failed("get", key, ErrNotActive)
	}
	return e.backend.Get(key)
}

// GetList returns the objects that match a glob, ascending by Created, ties by Path.
func (e *EmbeddedWrapper) GetList(path string) ([]meta.Object, error) {
	if e.backend == nil {
		return nil, failed("list", path, ErrNotActive)
	}
	return e.backend.GetList(path)
}

// Set stores an object.
func (e *EmbeddedWrapper) Set(key string, obj *meta.Object) error {
	if e.backend == nil {
		return failed("set", key, ErrNotActive)
	}
	return e.backend.Set(key, obj)
}

// Del removes the object at a path.
func (e *EmbeddedWrapper) Del(key string) error {
	if e.backend == nil {
		return failed("del", key, ErrNotActive)
	}
	return e.backend.Del(key)
}

// Keys returns all paths.
func (e *EmbeddedWrapper) Keys() ([]string, error) {
	if e.backend == nil {
		return nil, failed("keys", "", ErrNotActive)
	}
	return e.backend.Keys()
}

// Clear removes everything.
func (e *EmbeddedWrapper) Clear() {
	if e.backend != nil {
		e.backend.Clear()
	}
}

// Load reads everything.
func (e *EmbeddedWrapper) Load() (map[string]*meta.Object, error) {
	if e.backend == nil {
		return nil, failed("load", "", ErrNotActive)
	}
	return e.backend.Load()
}
