package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/oolith-db/oolith/internal/jsontext"
	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
)

// failed wraps an error once, with the operation and its path.
func failed(op, path string, err error) error { return fmt.Errorf("%s: %w", named(op, path), err) }

// named names an operation and its path in an error.
func named(op, path string) string {
	const most = 80 // maximum bytes of a path in an error
	if len(path) > most {
		return fmt.Sprintf("%s %q... (%d bytes)", op, path[:most], len(path))
	}
	return fmt.Sprintf("%s %q", op, path)
}

// checkKey accepts the path of one object.
func checkKey(path string) error {
	if err := key.Check(path); err != nil {
		return fmt.Errorf("%w, %w", ErrInvalidPath, err)
	}
	if key.HasGlob(path) {
		return ErrGlobNotAllowed
	}
	return nil
}

// checkPattern accepts a glob.
func checkPattern(path string) error {
	if err := key.Check(path); err != nil {
		return fmt.Errorf("%w, %w", ErrInvalidPath, err)
	}
	if !key.HasGlob(path) {
		return ErrInvalidPattern
	}
	return nil
}

// checkPush accepts a glob whose only star is its whole last segment.
func checkPush(path string) error {
	if err := key.Check(path); err != nil {
		return fmt.Errorf("%w, %w", ErrInvalidPath, err)
	}
	if !key.HasGlob(path) {
		return ErrGlobRequired
	}
	if key.ValidateGlob(path) != nil {
		return fmt.Errorf("%w, expected one '*', as the whole last segment", ErrInvalidPath)
	}
	if len(path)-1+pathtree.IndexSize > key.MaxLength {
		return fmt.Errorf("%w, with an index in place of '*', %w", ErrInvalidPath, key.Check(key.At(path, math.MaxInt64)))
	}
	return nil
}

// checkLock accepts a path that can be locked.
func checkLock(path string) error {
	if err := checkKey(path); err != ErrGlobNotAllowed {
		return err
	}
	return ErrCantLockGlob
}

// checkData accepts one JSON value in UTF-8.
func checkData(data json.RawMessage) error {
	if len(data) == 0 {
		return ErrInvalidStorageData
	}
	if jsonvalid.Valid(data) {
		return nil
	}
	// Valid only says no. Decoding finds the position, unless the encoding is the problem.
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		return &dataError{err}
	}
	if at := jsonvalid.NotUTF8(data); at >= 0 {
		return &dataError{fmt.Errorf("byte 0x%02[2]x at offset %[1]d is not UTF-8", at, data[at])}
	}
	return &dataError{errors.New("expected one JSON value")}
}

// dataError is ErrInvalidStorageData for invalid JSON.
type dataError struct{ err error }

func (e *dataError) Error() string {
	var syntax *json.SyntaxError
	if errors.As(e.err, &syntax) {
		return fmt.Sprintf("storage: invalid JSON at byte %d, %v", syntax.Offset, jsontext.Explain(e.err))
	}
	return fmt.Sprintf("storage: invalid JSON, %v", e.err)
}

func (e *dataError) Is(target error) bool { return target == ErrInvalidStorageData }

func (e *dataError) Unwrap() error { return e.err }
