// Package patch changes a part of an object, in one atomic step: by a JSON Merge Patch (RFC 7396) or
// a JSON Patch (RFC 6902).
//
//	_, err := patch.Merge(store, "cities/lisbon", []byte(`{"mayor":null,"trams":57}`))
//	_, err = patch.Apply(store, "cities/lisbon", []byte(`[
//		{"op":"test","path":"/trams","value":57},
//		{"op":"add","path":"/lines/-","value":"28E"}
//	]`))
//
// A patch is applied to what is there and stored if nobody wrote the object meanwhile; else it is
// applied anew to the newer object. It is stored whole or not at all. A time to
// live stays as it is.
//
// What a patch does not name keeps its value, its place among the members of its object, and the
// spelling of its strings and numbers; white space between tokens goes. New members
// come last, in the order of the patch. Of members with one name in an object the last one counts.
//
// # Limits
//
// A test compares numbers of up to 1,000 bytes by their value, and longer ones by their spelling.
//
// MaxDepth, MaxOperations and MaxCopied bound what a patch can cost, whoever wrote it. Past
// one of them it is ErrLimit.
package patch

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

const (
	// MaxDepth is how many levels of arrays and objects a patch, what it is applied to, and the result may have.
	MaxDepth = 1000
	// MaxOperations is how many operations a JSON Patch may have.
	MaxOperations = 10_000
	// MaxCopied is how many bytes of JSON the copy operations of a JSON Patch may add up to: without a bound,
	// each could double the size.
	MaxCopied = 16 << 20
)

// The errors of the package, which the returned ones wrap. Nothing was written.
var (
	// ErrInvalidPatch is a patch that is no JSON, or no JSON Patch.
	ErrInvalidPatch = errors.New("patch: invalid patch")
	// ErrDoesNotApply is what an *OperationError is: the object is not as a JSON Patch expects it.
	ErrDoesNotApply = errors.New("patch: it does not apply")
	// ErrTestFailed is an *OperationError of a test operation whose value is another one, or is absent.
	ErrTestFailed = errors.New("the test failed")
	// ErrLimit is a patch that goes beyond a limit of this package.
	ErrLimit = errors.New("patch: too large")
)

// OperationError says which operation of a JSON Patch does not apply. errors.Is(err, ErrDoesNotApply)
// holds for it.
type OperationError struct {
	// Index is the place of the operation in the patch, from 0.
	Index int
	// Op and Path are those of the operation.
	Op, Path string
	// Err says why.
	Err error
}

func (e *OperationError) Error() string {
	return fmt.Sprintf("patch: operation %d, %s %s, does not apply: %v", e.Index, e.Op, clip(e.Path), e.Err)
}

func (e *OperationError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrDoesNotApply) true.
func (e *OperationError) Is(target error) bool { return target == ErrDoesNotApply }

// Store is what a patch is applied through. *storage.Layered is one.
type Store interface {
	Update(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error)
}

var _ Store = (*storage.Layered)(nil)

// Options of a patch. The zero value has no condition.
type Options struct {
	// IfRevision makes the patch fail with a *storage.ConflictError unless the object has this
	// revision; 0 for no condition.
	IfRevision uint64
}

// Merge applies a JSON Merge Patch to the object at a path, and returns it as it was stored.
// Where there is no object the patch makes one, as RFC 7396 applies it to nothing: with all of its members
// that are not null. A patch that is no JSON object replaces the whole data, also if it is null.
func Merge(store Store, path string, patch json.RawMessage) (meta.Object, error) {
	return MergeWith(store, path, patch, Options{})
}

// MergeWith is Merge with a condition.
func MergeWith(store Store, path string, patch json.RawMessage, opt Options) (meta.Object, error) {
	change, err := parsePatch(patch)
	if err != nil {
		return meta.Object{}, fmt.Errorf("merge patch of %s: %w", clip(path), err)
	}
	return store.Update(path, func(old meta.Object) (json.RawMessage, error) {
		if err := opt.check(path, old); err != nil {
			return nil, err
		}
		return mergeInto(old.Data, change)
	})
}

// Apply applies a JSON Patch to the object at a path, and returns it as it was stored. Where there is
// no object it is storage.ErrNotFound.
func Apply(store Store, path string, patch json.RawMessage) (meta.Object, error) {
	return ApplyWith(store, path, patch, Options{})
}

// ApplyWith is Apply with a condition.
func ApplyWith(store Store, path string, patch json.RawMessage, opt Options) (meta.Object, error) {
	operations, err := parseOperations(patch)
	if err != nil {
		return meta.Object{}, fmt.Errorf("patch of %s: %w", clip(path), err)
	}
	return store.Update(path, func(old meta.Object) (json.RawMessage, error) {
		if err := opt.check(path, old); err != nil {
			return nil, err
		}
		if old.Data == nil {
			return nil, storage.ErrNotFound
		}
		return applyTo(old.Data, operations)
	})
}

func (opt Options) check(path string, old meta.Object) error {
	if opt.IfRevision != 0 && old.Revision != opt.IfRevision {
		return &storage.ConflictError{Path: path, Expected: opt.IfRevision, Current: old.Revision}
	}
	return nil
}

// MergeJSON returns the result of a JSON Merge Patch on a document; an empty document stands for none.
func MergeJSON(document, patch []byte) ([]byte, error) {
	change, err := parsePatch(patch)
	if err != nil {
		return nil, err
	}
	return mergeInto(document, change)
}

// ApplyJSON returns the result of a JSON Patch on a document.
func ApplyJSON(document, patch []byte) ([]byte, error) {
	operations, err := parseOperations(patch)
	if err != nil {
		return nil, err
	}
	return applyTo(document, operations)
}

// parsePatch reads a patch that may be any JSON.
func parsePatch(patch []byte) (*value, error) {
	if at := jsonvalid.NotUTF8(patch); at >= 0 {
		return nil, fmt.Errorf("%w, the byte 0x%02x at offset %d is not UTF-8", ErrInvalidPatch, patch[at], at)
	}
	v, err := parse(patch)
	if err != nil && !errors.Is(err, ErrLimit) {
		err = fmt.Errorf("%w, %w", ErrInvalidPatch, err)
	}
	return v, err
}

// clip quotes a text that somebody else chose, for a message of one line.
func clip(text string) string {
	const most = 80 // bytes of it that a message repeats
	if len(text) > most {
		return fmt.Sprintf("%q... (%d bytes)", text[:most], len(text))
	}
	return fmt.Sprintf("%q", text)
}
