package meta

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// The names in this file are for persistent layers that keep objects as JSON.

// New returns an object as JSON, its Data in compact form, or nil when its Data is no JSON, or when there is no object. Encode says why.
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

// Encode returns an object or a list of objects as JSON, their Data in compact form: the values stay, spaces do not, and
// '<', '>' and '&' are escaped. The result is the caller's. An error says what is no JSON.
func Encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("meta: encode: %w", err)
	}
	return data, nil
}

// Decode returns the object that data, one JSON value, holds. Names that an object does not have are passed over. The
// Data of the object is its own.
func Decode(data []byte) (Object, error) {
	return decode[Object](data)
}

// DecodeList returns the objects that data, a JSON array, holds, in its order.
func DecodeList(data []byte) ([]Object, error) {
	return decode[[]Object](data)
}

// DecodeFromReader is Decode of the next JSON value that a reader has. It may read on behind the value.
func DecodeFromReader(r io.Reader) (Object, error) {
	return decodeNext[Object](r)
}

// DecodeListFromReader is DecodeList of the next JSON value that a reader has. It may read on behind the value.
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

// SortAsc returns an order of objects for sort.Slice: ascending by Created, ties by Path, as lists of a store are.
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
