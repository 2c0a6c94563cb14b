package command

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/oolith-db/oolith/meta"
)

// digest is an order-independent checksum of a set of objects: their number, and the sum of their SHA-256. It is a
// sum and not an exclusive or, with which an object that occurs twice would cancel out. Compare digests with ==.
type digest struct {
	count int64
	sum   [4]uint64
}

// add adds an object: path, times, revision and data.
func (d *digest) add(obj *meta.Object) {
	h := sha256.New()
	var field [8]byte
	number := func(n uint64) {
		binary.BigEndian.PutUint64(field[:], n)
		h.Write(field[:]) // cannot fail
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

// String is a short form for people, not for comparison.
func (d digest) String() string { return fmt.Sprintf("%016x", d.sum[0]) }

// each visits all objects of a scan.
func each(ctx context.Context, objects iter.Seq2[meta.Object, error], visit func(meta.Object)) error {
	for obj, err := range objects {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		visit(obj)
	}
	return nil
}
