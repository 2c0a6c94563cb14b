// Package patch changes part of an object atomically, with a JSON Merge Patch (RFC 7396) or a JSON Patch (RFC 6902).
//
//	_, err := patch.Merge(store, "cities/lisbon", []byte(`{"mayor":null,"trams":57}`))
//	_, err = patch.Apply(store, "cities/lisbon", []byte(`[
//		{"op":"test","path":"/trams","value":57},
//		{"op":"add","path":"/lines/-","value":"28E"}
//	]`))
//
// A patch is applied to the present object, and the result is stored if no other write changed the object in the
// meantime. Otherwise the patch is applied again to the newer object. A patch is applied completely or not at all. A
// time to live is kept.
//
// Values that a patch does not name keep their order among the members and the spelling of their strings and numbers.
// White space between tokens is removed. New members come last, in the order of the patch. If an object has several
// members with the same name, the last one counts.
//
// # Limits
//
// A test compares numbers of up to 1,000 bytes by value, and longer ones by spelling.
//
// MaxDepth, MaxOperations and MaxCopied limit the cost of any patch. A patch that exceeds one fails with ErrLimit.
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
	// MaxDepth is the maximum number of levels of arrays and objects in a patch, in the document and in the result.
	MaxDepth = 1000
	// MaxOperations is the maximum number of operations in a JSON Patch.
	MaxOperations = 10_000
	// MaxCopied is the maximum total size in bytes of JSON that copy operations may add. Without it, each could
	// double the size.
	MaxCopied = 16 << 20
)

// The errors of the package. Returned errors wrap them. Nothing was written.
var (
	// ErrInvalidPatch is returned for a patch that is invalid JSON or not a JSON Patch.
	ErrInvalidPatch = errors.New("patch: invalid patch")
	// ErrDoesNotApply matches every *OperationError: the object is not as a JSON Patch expects it.
	ErrDoesNotApply = errors.New("patch: it does not apply")
	// ErrTestFailed matches an *OperationError of a test operation whose value differs or is absent.
	ErrTestFailed = errors.New("the test failed")
	// ErrLimit is returned for a patch that exceeds a limit of this package.
	ErrLimit = errors.New("patch: too large")
)

// OperationError reports an operation of a JSON Patch that does not apply. It matches ErrDoesNotApply.
type OperationError struct {
	// Index is the position of the operation in the patch, from 0.
	Index int
	// Op and Path are the members of the operation.
	Op, Path string
	// Err is the reason.
	Err error
}

func (e *OperationError) Error() string {
	return fmt.Sprintf("patch: operation %d, %s %s, does not apply: %v", e.Index, e.Op, clip(e.Path), e.Err)
}

func (e *OperationError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrDoesNotApply) true.
func (e *OperationError) Is(target error) bool { return target == ErrDoesNotApply }

// Store is the store of the object, such as a *storage.Layered.
type Store interface {
	Update(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error)
}

var _ Store = (*storage.Layered)(nil)

// Options configure a patch. The zero value has no condition.
type Options struct {
	// IfRevision makes the patch fail with a *storage.ConflictError unless the object has this revision; 0 for no
	// condition.
	IfRevision uint64
}

// Merge applies a JSON Merge Patch to the object at a path and returns the stored object. If there is no object the
// patch creates one with all of its members that are not null, as RFC 7396 defines. A patch that is not a JSON
// object, even null, replaces the whole data.
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

// Apply applies a JSON Patch to the object at a path and returns the stored object. If there is no object it returns
// storage.ErrNotFound.
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

// MergeJSON applies a JSON Merge Patch to a document. An empty document stands for none.
func MergeJSON(document, patch []byte) ([]byte, error) {
	change, err := parsePatch(patch)
	if err != nil {
		return nil, err
	}
	return mergeInto(document, change)
}

// ApplyJSON applies a JSON Patch to a document.
func ApplyJSON(document, patch []byte) ([]byte, error) {
	operations, err := parseOperations(patch)
	if err != nil {
		return nil, err
	}
	return applyTo(document, operations)
}

// parsePatch parses a patch that may be any JSON value.
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

// clip quotes untrusted text for an error of one line.
func clip(text string) string {
	const most = 80 // maximum bytes of the text in an error
	if len(text) > most {
		return fmt.Sprintf("%q... (%d bytes)", text[:most], len(text))
	}
	return fmt.Sprintf("%q", text)
}
