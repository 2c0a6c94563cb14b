package storage

import "github.com/oolith-db/oolith/meta"

// Layer is raw storage: a map from path to object. MemoryLayer and every engine
// implement it, and each can be used alone.
//
// All methods may be called from any number of goroutines, Close included. Before Start
// and after Close the methods that return an error return ErrNotActive, and the others
// do nothing. A layer stores an object as given: it stamps no times and sends no events.
// It keeps no reference to an object or to data that a caller passed in, nor does it
// change them; what it returns is read-only.
type Layer interface {
	// Active reports whether the layer is started.
	Active() bool
	// Start opens the layer. It returns ErrActive when it is open already. After a
	// failed Start nothing is held: it may be called again.
	Start(opt LayerOptions) error
	// Close ends the layer. It may be called any number of times; Start may follow.
	Close()
	// Get returns the object at an exact path, or ErrNotFound. An invalid path is
	// ErrInvalidPath, a glob ErrGlobNotAllowed.
	Get(key string) (meta.Object, error)
	// GetList returns the objects that match a glob, ascending by Created, ties by Path.
	// Without a glob it is ErrInvalidPattern.
	GetList(path string) ([]meta.Object, error)
	// Set stores an object at a path, which wins over obj.Path and obj.Index. An
	// error means that nothing changed. A nil obj or one with empty Data is
	// ErrInvalidStorageData.
	Set(key string, obj *meta.Object) error
	// Del removes the object at a path, or returns ErrNotFound. An error means that
	// nothing changed. A glob is ErrGlobNotAllowed.
	Del(key string) error
	// Keys returns all paths in byte order.
	Keys() ([]string, error)
	// Clear removes everything.
	Clear()
}

// LayerOptions are the options of a single layer.
type LayerOptions struct {
	// SkipLoadMemory, in LayeredConfig.MemoryOptions, leaves memory empty at Start and
	// makes it a cache of the persistent layer: of what was read lately. The MemoryLayer itself stays empty.
	SkipLoadMemory bool
	// CacheBytes is roughly how many bytes the cache takes, with what is kept around the objects; 64 MiB when
	// zero. What was not read for long makes room for what is.
	CacheBytes int64
	// AllowIncomplete, in LayeredConfig.EmbeddedOptions, opens a layer that is marked as
	// incomplete (IncompleteMarker), which Start refuses otherwise with ErrIncomplete.
	AllowIncomplete bool
}

// EmbeddedLayer is a persistent layer: what it acknowledged is there after a restart. An object
// whose time to live has ended is one like any other to it: the store deletes it.
//
// A layer that can do more says so by the optional interfaces in upgrade.go.
type EmbeddedLayer interface {
	Layer
	// Load reads everything. An entry that cannot be decoded is an error that names its
	// key; no entry is skipped.
	Load() (map[string]*meta.Object, error)
}

// LayeredConfig names the layers of a store: memory only, persistent only, or both.
type LayeredConfig struct {
	// Memory is the layer that reads are answered from.
	Memory *MemoryLayer
	// MemoryOptions are given to Memory at Start.
	MemoryOptions LayerOptions

	// Embedded is the persistent layer that writes go through.
	Embedded EmbeddedLayer
	// EmbeddedOptions are given to the persistent layer at Start.
	EmbeddedOptions LayerOptions

	// Persistent is another name of Embedded. To set both is ErrTwoPersistentLayers.
	Persistent EmbeddedLayer
}
