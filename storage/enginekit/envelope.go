package enginekit

import (
	"fmt"

	"github.com/oolith-db/oolith/internal/codec"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// MaxData is the greatest length of data, in bytes, that AppendObject accepts.
const MaxData = codec.MaxData

// AppendObject appends the stored form of an object to dst and returns the extended slice: a version, a checksum over
// the path and all that follows it, times, revision and data. It does not contain the path, because the path is the
// key. AppendObject ignores the object's own Path and Index, and copies its data.
func AppendObject(dst []byte, path string, obj *meta.Object) []byte {
	return codec.Append(dst, path, obj)
}

// ObjectSize returns how many bytes AppendObject adds for an object.
func ObjectSize(obj *meta.Object) int { return codec.Size(obj) }

// Decode returns the object at a path from the form that AppendObject made. The data is copied once, with its capacity
// clipped. value is not kept. Decode returns an error that names the path and matches storage.ErrUndecodable if the
// form is truncated or changed, belongs to another path, or has a newer version.
func Decode(path string, value []byte) (meta.Object, error) {
	obj, err := codec.Decode(path, value)
	return obj, Undecodable(err)
}

// Undecodable turns the reason why an entry is not an object into storage.ErrUndecodable. It returns nil for nil.
func Undecodable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w, %w; set or delete exactly this key to be rid of it", err, storage.ErrUndecodable)
}
