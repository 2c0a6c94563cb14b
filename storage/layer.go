package storage

import "github.com/oolith-db/oolith/meta"

// Layer is raw storage: a map from path to object. MemoryLayer and every engine implement it, and each can be used on
// its own.
//
// All methods may be called concurrently, including Close. Before Start and after Close, methods that return an error
// return ErrNotActive and the others do nothing. A layer stores objects as given: it sets no times and sends no
// events. It does not keep or change objects and data of the caller. The objects it returns are read-only.
type Layer interface {
	// Active reports whether the layer is started.
	Active() bool
	// Start opens the layer. It returns ErrActive if the layer is already open. A failed Start holds no resources and
	// can be repeated.
	Start(opt LayerOptions) error
	// Close closes the layer. It may be called several times. Start may follow.
	Close()
	// Get returns the object at an exact path, or ErrNotFound. An invalid path fails with ErrInvalidPath, a glob with
	// ErrGlobNotAllowed.
	Get(key string) (meta.Object, error)
	// GetList returns the objects that match a glob, ascending by Created, ties by Path. A path without a glob fails
	// with ErrInvalidPattern.
	GetList(path string) ([]meta.Object, error)
	// Set stores an object at a path, which overrides obj.Path and obj.Index. On error nothing has changed. A nil obj
	// or empty Data fails with ErrInvalidStorageData.
	Set(key string, obj *meta.Object) error
	// Del deletes the object at a path, or returns ErrNotFound. On error nothing has changed. A glob fails with
	// ErrGlobNotAllowed.
	Del(key string) error
	// Keys returns all paths in byte order.
	Keys() ([]string, error)
	// Clear deletes everything.
	Clear()
}

// LayerOptions are the options of a single layer.
type LayerOptions struct {
	// SkipLoadMemory, in LayeredConfig.MemoryOptions, starts with empty memory and uses it as a cache of recently
	// read objects of the persistent layer. The MemoryLayer itself stays empty.
	SkipLoadMemory bool
	// CacheBytes is the approximate size of the cache in bytes, overhead included; 64 MiB when zero. The cache evicts
	// objects that have not been read for a long time.
	CacheBytes int64
	// AllowIncomplete, in LayeredConfig.EmbeddedOptions, opens a layer that is marked as incomplete
	// (IncompleteMarker). Without it Start returns ErrIncomplete.
	AllowIncomplete bool
}

// EmbeddedLayer is a persistent layer: acknowledged writes survive a restart. It treats expired objects like any
// other; the store deletes them.
//
// A layer with more capabilities implements the optional interfaces in upgrade.go.
type EmbeddedLayer interface {
	Layer
	// Load reads everything. An entry that cannot be decoded is an error that names its key. Load never skips an
	// entry.
	Load() (map[string]*meta.Object, error)
}

// LayeredConfig sets the layers of a store: memory, persistent, or both.
type LayeredConfig struct {
	// Memory is the layer that answers reads.
	Memory *MemoryLayer
	// MemoryOptions are passed to Memory at Start.
	MemoryOptions LayerOptions

	// Embedded is the persistent layer. Every write goes through it.
	Embedded EmbeddedLayer
	// EmbeddedOptions are passed to the persistent layer at Start.
	EmbeddedOptions LayerOptions

	// Persistent is another name for Embedded. Setting both fails with ErrTwoPersistentLayers.
	Persistent EmbeddedLayer
}
