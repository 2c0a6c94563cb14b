package meta

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// These functions are for persistent layers that store objects as JSON.

// New returns an object as JSON with compact Data, or nil if there is no object or its Data is invalid JSON. Encode
// returns the reason.
func New(obj *Object) []byte {
	if obj == nil {
		return nil
	}
	data, err := Encode(obj)
	if err != nil {
		return nil
	}
	return data
}

// Encode returns an object or a list of objects as JSON with compact Data: values are kept, spaces are removed, and
// '<', '>' and '&' are escaped. The caller owns the result. An error says which part is invalid JSON.
func Encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("meta: encode: %w", err)
	}
	return data, nil
}

// Decode returns the object in data, one JSON value. Unknown members are ignored. The object owns its Data.
func Decode(data []byte) (Object, error) {
	return decode[Object](data)
}

// DecodeList returns the objects in data, a JSON array, in order.
func DecodeList(data []byte) ([]Object, error) {
	return decode[[]Object](data)
}

// DecodeFromReader is Decode of the next JSON value from a reader. It may read past the value.
func DecodeFromReader(r io.Reader) (Object, error) {
	return decodeNext[Object](r)
}

// DecodeListFromReader is DecodeList of the next JSON value from a reader. It may read past the value.
func DecodeListFromReader(r io.Reader) ([]Object, error) {
	return decodeNext[[]Object](r)
}

func decode[V any](data []byte) (V, error) {
	var v, none V
	if err := json.Unmarshal(data, &v); err != nil {
		return none, fmt.Errorf("meta: decode: %w", err)
	}
	return v, nil
}

func decodeNext[V any](r io.Reader) (V, error) {
	var v, none V
	if err := json.NewDecoder(r).Decode(&v); err != nil {
		return none, fmt.Errorf("meta: decode: %w", err)
	}
	return v, nil
}

// SortAsc returns a less function for sort.Slice: ascending by Created, ties by Path, as in lists of a store.
func SortAsc(objects []Object) func(i, j int) bool {
	return func(i, j int) bool { return compare(&objects[i], &objects[j]) < 0 }
}

// SortDesc returns the exact reverse of SortAsc.
func SortDesc(objects []Object) func(i, j int) bool {
	return func(i, j int) bool { return compare(&objects[i], &objects[j]) > 0 }
}

func compare(a, b *Object) int {
	return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.Path, b.Path))
}
