package enginekit

import (
	"fmt"

	"github.com/oolith-db/oolith/internal/codec"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Decode is that of package codec, whose error is storage.ErrUndecodable.
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
