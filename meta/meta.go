// Package meta holds the one type that every layer of the store exchanges: the
// stored object with its times, its place and its data.
package meta

import "encoding/json"

// Object is a stored JSON value together with what the store knows about it.
//
// An Object that a store or a layer returns shares its Data with the store: Data is
// read-only, and its capacity is clipped to its length, so that an append copies it
// and never writes into the store.
type Object struct {
	// Created is when the object came into being, in Unix nanoseconds.
	Created int64 `json:"created"`
	// Updated is when the object was last overwritten, in Unix nanoseconds; 0 while it
	// never was.
	Updated int64 `json:"updated"`
	// Index is the last segment of Path.
	Index string `json:"index"`
	// Path is the full path of the object. The Path, Index and Data of an object from a store may share one allocation:
	// to keep a path for long without the data, keep strings.Clone(Path).
	Path string `json:"path,omitempty"`
	// Data is one valid JSON value, byte for byte as it was written.
	Data json.RawMessage `json:"data"`
	// Revision is the place of the object's last change in the store's commit order:
	// strictly increasing, never reused, also not after a restart. 0 means that the
	// object has not passed through a store.
	Revision uint64 `json:"revision,omitempty"`
	// Expires is when the object ceases to be, in Unix nanoseconds; 0 for never. From that
	// time on no read of a store returns it.
	Expires int64 `json:"expires,omitempty"`
}

// Expired reports whether the object is past its time to live at a time in Unix
// nanoseconds.
func (o *Object) Expired(now int64) bool { return o.Expires != 0 && o.Expires <= now }
