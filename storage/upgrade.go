package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// The optional interfaces of persistent layers, each with the store's fallback for a layer that lacks it. A wrapper
// implements them by asking the layer it wraps, with the helper functions of this file.

// Change is one change of a batch: exactly one of a put, a delete and a clear. The zero value is none of them and is
// rejected as an invalid path.
type Change struct {
	// Key is the path to put or delete; empty for a clear.
	Key string
	// Clear makes the change a clear, which deletes everything. Clear together with Key or Object is rejected.
	Clear bool
	// Object is the object to put at Key; nil for a delete and a clear. It is read-only.
	Object *meta.Object
	// Revision is the position of the change in the commit order. It grows from change to change, except that the
	// deletes of one glob share a revision.
	Revision uint64
}

// IsClear reports whether the change deletes everything.
func (c Change) IsClear() bool { return c.Clear }

// Batcher is a layer that commits several changes atomically.
type Batcher interface {
	// Commit applies the changes in order, all or nothing. It returns when they are as durable as the layer is
	// configured to make them, with a single sync for the whole batch. A delete of an absent key is not an error.
	//
	// With the batch the layer records the highest revision, for LastRevision.
	//
	// An *EntryError means that one change was rejected and nothing was written. After any other error it is unknown
	// whether the batch was stored, so the store stops writes (ErrWritesStopped). The layer keeps no reference to the
	// changes after Commit returns.
	Commit(changes []Change) error
	// LastRevision returns the highest revision that was ever committed, even if its object was deleted since; 0 for
	// none.
	LastRevision() (uint64, error)
}

// AsyncBatcher is a Batcher that can order a batch before it is durable. The store uses it to keep the disk busy: it
// writes the next batch during the sync of the previous one.
type AsyncBatcher interface {
	Batcher
	// CommitAsync is Commit that returns as soon as the batch has its place in the layer's order, after earlier
	// batches. A durable batch implies that all earlier batches are durable. The store calls wait once. wait returns
	// when the batch is durable; its error has the meaning of an error of Commit other than *EntryError.
	CommitAsync(changes []Change) (wait func() error, err error)
}

// Scanner is a layer that can stream its objects.
type Scanner interface {
	// Scan yields the objects that match a pattern, or all for an empty one, from one consistent snapshot, in order
	// of (Parent, Index), both compared as bytes. It costs the directories that the pattern can match, not the levels
	// below them. An entry that cannot be decoded ends the scan with an error that names its key. The receiver owns
	// the objects.
	Scan(pattern string) iter.Seq2[meta.Object, error]
}

// SizeHinter is a layer that can cheaply estimate its number of objects, so that maps get their final size at once.
type SizeHinter interface {
	// SizeHint returns the approximate number of objects; 0 if unknown.
	SizeHint() int
}

// Checker is a layer that can check itself more thoroughly than by reading all objects.
type Checker interface {
	// Check reads all objects and the engine's own state, such as checksums and indexes. It calls report for each
	// problem, with an error that names the key if there is one, and continues. It returns the number of intact
	// objects. Its error means that the check itself ended early: the context ended, or the layer cannot be read at
	// all.
	Check(ctx context.Context, report func(error)) (objects int, err error)
}

// Compacter is a layer that can reclaim the space of overwritten and deleted objects.
type Compacter interface {
	// Compact returns when it has reclaimed the space, or with the context's error. Reads and writes continue during
	// the compaction.
	Compact(ctx context.Context) error
}

// Identified is a layer with an identity that distinguishes its content from that of every other store.
type Identified interface {
	// ID returns a number other than 0 that was drawn at random when the store was created. It never changes.
	ID() (uint64, error)
}

// IncompleteMarker is a layer that can mark its content as incomplete during a copy or a restore, so an interrupted
// one is always detected.
type IncompleteMarker interface {
	// MarkIncomplete durably records why the content is incomplete, in a few words such as "copy from pebble:./data".
	// An empty reason removes the mark. While the mark exists, Start fails with an error that wraps ErrIncomplete and
	// includes the reason, unless LayerOptions.AllowIncomplete is set.
	MarkIncomplete(reason string) error
}

// Skipper is a layer that is configured to skip entries that it cannot decode.
type Skipper interface {
	// Skipped returns the keys of the skipped entries and their number. If there are many, it returns the first keys
	// in byte order. Reads of several objects skip them. Get of such a key is an error, and Set and Del replace and
	// remove its entry.
	Skipped() (keys []string, count int)
}

// ReadOnlyLayer is a layer that can be opened read-only.
type ReadOnlyLayer interface {
	// ReadOnly reports whether the layer is opened read-only, or will be. Its Start then creates, changes and
	// write-locks no file, and fails if there is no database. Its writes return ErrReadOnly, and so do all writes of
	// a store over it. The store then removes no expired or surplus objects; expired ones stay hidden.
	ReadOnly() bool
}

// readOnly reports whether a layer is open read-only. It returns false for nil and for a layer without ReadOnlyLayer.
func readOnly(layer EmbeddedLayer) bool {
	if layer == nil {
		return false
	}
	l, ok := As[ReadOnlyLayer](layer)
	return ok && l.ReadOnly()
}

// Scan streams the objects that match a pattern, or everything for an empty one, from any layer: with its Scanner, or
// else with Load or GetList, in the order that Scanner requires. A path outside of the grammar of package key is an
// error that names it. A panic of the layer is an error that ends the scan.
func Scan(layer Layer, pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		more, reading := true, true
		defer func() {
			if !reading {
				return // a panic of the receiver continues
			}
			// After the receiver stopped, a panic of the layer does not affect the delivered objects.
			if value := recover(); value != nil && more {
				yield(meta.Object{}, panicError(value))
			}
		}()
		for obj, err := range unchecked(layer, pattern) {
			if err == nil {
				obj, err = checked(obj, obj.Path)
			}
			reading = false
			more = yield(obj, err)
			if reading = true; !more {
				return
			}
		}
	}
}

// getFrom is Get of a layer. It returns a panic of the layer as an error, since reading changes nothing.
func getFrom(layer Layer, path string) (obj meta.Object, err error) {
	defer panicAsError(&err)
	return layer.Get(path)
}

// keysOf is Keys of a layer with panics as errors, as in getFrom.
func keysOf(layer Layer) (paths []string, err error) {
	defer panicAsError(&err)
	return layer.Keys()
}

// panicAsError turns a panic of a layer into an error.
func panicAsError(err *error) {
	if value := recover(); value != nil {
		*err = panicError(value)
	}
}

// panicError is the error for a panic of a layer. It wraps the value if that is an error.
func panicError(value any) error {
	if err, ok := value.(error); ok {
		return fmt.Errorf("the layer panicked: %w", err)
	}
	return fmt.Errorf("the layer panicked: %v", value)
}

// unchecked is Scan without validation of what the layer's Scanner yields.
func unchecked(layer Layer, pattern string) iter.Seq2[meta.Object, error] {
	if s, ok := As[Scanner](layer); ok {
		return s.Scan(pattern)
	}
	return func(yield func(meta.Object, error) bool) {
		objects, err := collect(layer, pattern)
		if err != nil {
			yield(meta.Object{}, err)
			return
		}
		slices.SortFunc(objects, compareByPlace)
		for _, obj := range objects {
			if !yield(obj, nil) {
				return
			}
		}
	}
}

// Unwrapper is a layer that wraps another one without changing it. The store asks the wrapped layer for the optional
// interfaces that the wrapper lacks, and calls these directly. A wrapper that changes what it stores, for example by
// encryption, must not implement Unwrapper.
type Unwrapper interface {
	Unwrap() EmbeddedLayer
}

// As returns the optional interface T of a layer or of the layers it wraps (Unwrapper, *EmbeddedWrapper): the first
// one in the chain.
func As[T any](layer Layer) (T, bool) {
	for layer != nil {
		if t, ok := layer.(T); ok {
			return t, true
		}
		var inner EmbeddedLayer
		switch w := layer.(type) {
		case *EmbeddedWrapper:
			inner = w.backend
		case Unwrapper:
			inner = w.Unwrap()
		}
		if inner == nil {
			break
		}
		layer = inner
	}
	var none T
	return none, false
}

// collect is the fallback of Scan: all matches, unordered.
func collect(layer Layer, pattern string) ([]meta.Object, error) {
	loader, ok := layer.(EmbeddedLayer)
	switch {
	case pattern == "" && !ok:
		return nil, fmt.Errorf("layer %T implements neither Scanner nor Load", layer)
	case pattern != "" && !(ok && key.IsSubtree(pattern)):
		return listed(layer, pattern)
	}
	// A layer that predates subtree patterns rejects them, so load everything.
	loaded, err := loader.Load()
	if err != nil {
		return nil, err
	}
	objects := make([]meta.Object, 0, len(loaded))
	for path, obj := range loaded {
		if pattern != "" && !key.Match(pattern, path) {
			continue
		}
		if obj == nil {
			return nil, fmt.Errorf("the layer has no object at key %q", path)
		}
		found, err := checked(*obj, path)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found)
	}
	return objects, nil
}

// listed is the result of a layer's GetList, checked against the pattern. GetList does not accept a path, which
// matches itself.
func listed(layer Layer, pattern string) ([]meta.Object, error) {
	if pattern != "" && !key.HasGlob(pattern) {
		obj, err := layer.Get(pattern)
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []meta.Object{placed(obj, pattern)}, nil
	}
	objects, err := layer.GetList(pattern)
	if err != nil {
		return nil, err
	}
	matching := make([]meta.Object, 0, len(objects))
	for _, obj := range objects {
		if obj, err = checked(obj, obj.Path); err != nil {
			return nil, err
		}
		if key.Match(pattern, obj.Path) {
			matching = append(matching, obj)
		}
	}
	return matching, nil
}

// checked is placed for a path from a layer, which must be a valid key.
func checked(obj meta.Object, path string) (meta.Object, error) {
	if !key.IsValid(path) || key.HasGlob(path) {
		return meta.Object{}, fmt.Errorf("%w, key %q of the layer", ErrInvalidPath, path)
	}
	return placed(obj, path), nil
}

// placed returns an object as a store returns it: with its path and index, and with clipped data, whatever the layer
// left open.
func placed(obj meta.Object, path string) meta.Object {
	obj.Path, obj.Index = path, key.LastIndex(path)
	obj.Data = slices.Clip(obj.Data)
	return obj
}

// compareByPlace compares by (Parent, Index) as bytes.
func compareByPlace(a, b meta.Object) int {
	if c := strings.Compare(key.Parent(a.Path), key.Parent(b.Path)); c != 0 {
		return c
	}
	return strings.Compare(a.Index, b.Index)
}
