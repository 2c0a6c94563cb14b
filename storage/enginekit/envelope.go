package enginekit

import (
	"fmt"

	"github.com/oolith-db/oolith/internal/codec"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// MaxData is the greatest length of data, in bytes, that AppendObject takes.
const MaxData = codec.MaxData

// AppendObject appends the stored form of an object to dst and returns the extended slice: a version, a checksum over the
// path and all that follows it, times, revision and data. The path itself is not in it, since it is the key. The
// object's own Path and Index are not looked at, and its data is copied.
func AppendObject(dst []byte, path string, obj *meta.Object) []byte {
	return codec.Append(dst, path, obj)
}

// ObjectSize returns how many bytes AppendObject adds for an object.
func ObjectSize(obj *meta.Object) int { return codec.Size(obj) }

// Decode returns the object whose stored form at a path AppendObject made. The data is copied once, with its capacity
// clipped; value is not kept. What was cut short or changed, belongs to another path, or has a newer version, is an error that names the
// path, for which errors.Is(err, storage.ErrUndecodable) holds.
func Decode(path string, value []byte) (meta.Object, error) {
	obj, err := codec.Decode(path, value)
	return obj, Undecodable(err)
}

// Undecodable makes storage.ErrUndecodable of the reason why an entry is no object; it keeps nil.
func Undecodable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w; set or delete exactly this key to be rid of it", err, storage.ErrUndecodable)
}
