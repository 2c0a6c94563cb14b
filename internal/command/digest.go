package command

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/oolith-db/oolith/meta"
)

// digest is a checksum of a set of objects, whatever their order: how many there are, and
// the sum of the SHA-256 of each. A sum and not an exclusive or, under which an object that
// is there twice would be none. Two digests are compared by ==.
type digest struct {
	count int64
	sum   [4]uint64
}

// add takes in an object: path, times, revision and data.
func (d *digest) add(obj *meta.Object) {
	h := sha256.New()
	var field [8]byte
	number := func(n uint64) {
		binary.BigEndian.PutUint64(field[:], n)
		h.Write(field[:]) // a hash never fails
	}
	number(uint64(len(obj.Path)))
	h.Write([]byte(obj.Path))
	number(uint64(obj.Created))
	number(uint64(obj.Updated))
	number(uint64(obj.Expires))
	number(obj.Revision)
	h.Write(obj.Data)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	for i := range d.sum {
		d.sum[i] += binary.BigEndian.Uint64(sum[8*i:])
	}
	d.count++
}

// String is short, for people. It is not what digests are compared by.
func (d digest) String() string { return fmt.Sprintf("%016x", d.sum[0]) }

// digestOf takes in all objects of a scan.
func digestOf(ctx context.Context, objects iter.Seq2[meta.Object, error], each func()) (digest, error) {
	var d digest
	for obj, err := range objects {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return d, err
		}
		d.add(&obj)
		each()
	}
	return d, nil
}
