// Package meta defines the type that all layers of the store exchange: a stored object with its times, its path and
// its data.
package meta

import "encoding/json"

// Object is a stored JSON value with its metadata.
//
// An Object returned by a store or a layer shares its Data with the store. The Data is read-only. Its capacity is
// clipped to its length, so an append copies it and never writes into the store.
type Object struct {
	// Created is the time of creation, in Unix nanoseconds.
	Created int64 `json:"created"`
	// Updated is the time of the last overwrite, in Unix nanoseconds; 0 for none.
	Updated int64 `json:"updated"`
	// Index is the last segment of Path.
	Index string `json:"index"`
	// Path is the full path of the object. The Path, Index and Data of an object from a store may share one allocation:
	// to keep a path for long without the data, keep strings.Clone(Path).
	Path string `json:"path,omitempty"`
	// Data is one valid JSON value, byte for byte as written.
	Data json.RawMessage `json:"data"`
	// Revision is the position of the object's last change in the store's commit order. It is strictly increasing and
	// never reused, not even after a restart. 0 means that the object has not passed through a store.
	Revision uint64 `json:"revision,omitempty"`
	// Expires is when the object expires, in Unix nanoseconds; 0 for never. From then on no read of a store returns
	// it.
	Expires int64 `json:"expires,omitempty"`
}

// Expired reports whether the object has expired at a time in Unix nanoseconds.
func (o *Object) Expired(now int64) bool { return o.Expires != 0 && o.Expires <= now }
