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

// This file holds the optional interfaces of persistent layers, each with what the
// store does for a layer that lacks it. A wrapper implements them by asking what it wraps,
// through the helper functions of this file.

// Change is one change of a batch: exactly one of a put, a delete and a clear. The zero value is none of
// them, and refused as an invalid path is.
type Change struct {
	// Key is the path to put or delete; empty for a clear.
	Key string
	// Clear makes the change a clear: it removes everything. A Key or an Object beside it is refused.
	Clear bool
	// Object is the object to put at Key; nil for a delete and a clear. It is read-only.
	Object *meta.Object
	// Revision is the change's place in the commit order. It grows from change to change,
	// but for the deletes of one glob, which share one.
	Revision uint64
}

// IsClear reports whether the change removes everything.
func (c Change) IsClear() bool { return c.Clear }

// Batcher is a layer that commits several changes atomically.
type Batcher interface {
	// Commit applies the changes in order, all or none, and returns when they are as
	// durable as the layer is configured to make them, with a single sync for the whole batch.
	// A delete of an absent key is not an error.
	//
	// With the batch the layer records the highest revision, for LastRevision.
	//
	// An *EntryError says that one change was refused and that nothing was written. Any
	// other error leaves open whether the batch was kept: the store then stops taking
	// writes (ErrWritesStopped). The layer keeps nothing of changes after it returned.
	Commit(changes []Change) error
	// LastRevision returns the highest revision that was ever committed, also if its
	// object was deleted since; 0 for none.
	LastRevision() (uint64, error)
}

// AsyncBatcher is a Batcher that can order a batch before it is durable. The store uses it
// to keep the disk busy: the next batch is written while the one before is in its sync.
type AsyncBatcher interface {
	Batcher
	// CommitAsync is Commit that returns as soon as the batch is in the order of the layer,
	// behind those before it. A batch that is durable implies those before it. The store calls
	// wait once, which returns when the batch is durable; an error of it is like one of
	// Commit other than an *EntryError.
	CommitAsync(changes []Change) (wait func() error, err error)
}

// Scanner is a layer that can stream.
type Scanner interface {
	// Scan yields the objects that match a pattern, or all for an empty one, from one
	// consistent snapshot, in the order of (Parent, Index), both compared as bytes.
	// It costs what it visits: the directories that the pattern can match,
	// not the levels below them. An entry that cannot be decoded ends the scan with an error that names
	// its key. The objects belong to the receiver.
	Scan(pattern string) iter.Seq2[meta.Object, error]
}

// SizeHinter is a layer that can estimate cheaply how many objects it holds, so that
// maps are made in their final size.
type SizeHinter interface {
	// SizeHint returns roughly the number of objects; 0 when it is unknown.
	SizeHint() int
}

// Checker is a layer that can examine itself more thoroughly than by reading all objects.
type Checker interface {
	// Check reads everything that the layer holds, and what its engine knows of its own
	// state (checksums, indexes), calls report for each thing that is wrong, with an error that names the
	// key where there is one, and goes on behind it. It returns the number of objects that are whole.
	// The error says that the check itself came to an end before its time: the context's, or that
	// the layer cannot be read at all.
	Check(ctx context.Context, report func(error)) (objects int, err error)
}

// Compacter is a layer that can give back the space of what was overwritten and deleted.
type Compacter interface {
	// Compact returns when that is done, or with the context's error. Reads and writes go
	// on meanwhile.
	Compact(ctx context.Context) error
}

// Identified is a layer that can tell its content from that of every other store.
type Identified interface {
	// ID returns a number, other than 0, that was drawn at random when the store was made, and
	// that stays for as long as the store lives.
	ID() (uint64, error)
}

// IncompleteMarker is a layer that can say of itself that it holds only a part: a copy or
// a restore that is under way, or that was cut off.
type IncompleteMarker interface {
	// MarkIncomplete durably notes why the content is incomplete, in a few words such as
	// "copy from pebble:./data"; an empty reason takes the note away. While it is there,
	// Start fails with an error that wraps ErrIncomplete and holds the reason, unless
	// LayerOptions.AllowIncomplete is set.
	MarkIncomplete(reason string) error
}

// Skipper is a layer that was told to leave out what it cannot show.
type Skipper interface {
	// Skipped returns the keys of the entries that are left out, the first in byte order when there are many,
	// and how many there are. Reads of more than one object pass them over; Get of such a key is an error, and
	// Set and Del replace and remove its entry.
	Skipped() (keys []string, count int)
}

// ReadOnlyLayer is a layer that can be opened to read only.
type ReadOnlyLayer interface {
	// ReadOnly reports whether the layer is opened, or will be, to read only. Its Start then
	// creates, changes and locks for writing no file, and fails where there is no database. Its writes are
	// ErrReadOnly, and so are all writes of a store over it. The store removes nothing that expires or is
	// too many then; what is expired stays hidden.
	ReadOnly() bool
}

// readOnly reports whether a layer is opened to read only. A layer that cannot be is not; nor is no layer.
func readOnly(layer EmbeddedLayer) bool {
	if layer == nil {
		return false
	}
	l, ok := As[ReadOnlyLayer](layer)
	return ok && l.ReadOnly()
}

// Scan streams what matches a pattern, or everything for an empty one, from any layer:
// by its Scanner, else by Load or GetList, in the order that Scanner demands. Paths outside of
// the grammar of package key are errors that name them. A panic of the layer is an error that ends the scan.
func Scan(layer Layer, pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		more, reading := true, true
		defer func() {
			if !reading {
				return // the receiver's own panic goes on
			}
			// What a layer does once nobody wants more has no effect on what was told.
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

// getFrom is Get of a layer. A panic of the layer is an error: reading changes nothing.
func getFrom(layer Layer, path string) (obj meta.Object, err error) {
	defer panicAsError(&err)
	return layer.Get(path)
}

// keysOf is Keys of a layer, as getFrom is Get.
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

// panicError is the error for a panic of a layer. It wraps a value that is an error.
func panicError(value any) error {
	if err, ok := value.(error); ok {
		return fmt.Errorf("the layer panicked: %w", err)
	}
	return fmt.Errorf("the layer panicked: %v", value)
}

// unchecked is Scan without the look at what the layer's Scanner tells.
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

// Unwrapper is a layer that only wraps another one: the store asks the wrapped layer for
// the optional interfaces that the wrapper itself lacks, and calls those past the wrapper. One that changes
// what it stores, such as by encryption, must not be one.
type Unwrapper interface {
	Unwrap() EmbeddedLayer
}

// As finds an optional interface T of a layer, or of what the layer wraps (Unwrapper, *EmbeddedWrapper): the
// first in the chain that has it.
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

// collect is the fallback of Scan: all that matches, in no order.
func collect(layer Layer, pattern string) ([]meta.Object, error) {
	loader, ok := layer.(EmbeddedLayer)
	switch {
	case pattern == "" && !ok:
		return nil, fmt.Errorf("storage: layer %T can neither scan nor load", layer)
	case pattern != "" && !(ok && key.IsSubtree(pattern)):
		return listed(layer, pattern)
	}
	// A layer that was written before there were subtree patterns refuses them, and so all is loaded.
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
			return nil, fmt.Errorf("storage: load: key %q holds no object", path)
		}
		found, err := checked(*obj, path)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found)
	}
	return objects, nil
}

// listed is what a layer's GetList returns, held against the pattern. A path, which matches itself, is
// none for GetList.
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

// checked is placed for a path that a layer told, which must be one of a key.
func checked(obj meta.Object, path string) (meta.Object, error) {
	if !key.IsValid(path) || key.HasGlob(path) {
		return meta.Object{}, fmt.Errorf("storage: layer: key %q: %w", path, ErrInvalidPath)
	}
	return placed(obj, path), nil
}

// placed returns an object as a store hands it out: with its path and index, and its data
// clipped, whatever the layer it comes from left open.
func placed(obj meta.Object, path string) meta.Object {
	obj.Path, obj.Index = path, key.LastIndex(path)
	obj.Data = slices.Clip(obj.Data)
	return obj
}

// compareByPlace orders by (Parent, Index) as bytes.
func compareByPlace(a, b meta.Object) int {
	if c := strings.Compare(key.Parent(a.Path), key.Parent(b.Path)); c != 0 {
		return c
	}
	return strings.Compare(a.Index, b.Index)
}
