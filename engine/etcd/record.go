package etcd

import (
	"encoding/json"
	"fmt"

	"github.com/oolith-db/oolith/storage"
)

// shift is the number of bits of a revision that hold the place within a transaction.
const shift = 12

// revisionOf returns the revision of a change. whole returns the revision up to which everything of a transaction is
// delivered.
func revisionOf(etcd int64, place int) uint64 { return uint64(etcd)<<shift + uint64(place) }
func whole(etcd int64) uint64                 { return revisionOf(etcd, 1<<shift-1) }

// etcdRevision returns the transaction of a revision.
func etcdRevision(revision uint64) int64 { return int64(revision >> shift) }

// record is the description of a transaction by itself.
type record struct {
	// ID identifies the transaction among those of its node.
	ID      uint64           `json:"id"`
	Changes []recordedChange `json:"c,omitempty"`
}

type recordedChange struct {
	Key     string         `json:"k,omitempty"`
	Delete  bool           `json:"d,omitempty"`
	Pattern string         `json:"p,omitempty"`
	Clear   bool           `json:"x,omitempty"`
	Reason  storage.Reason `json:"r,omitempty"`
	Silent  bool           `json:"q,omitempty"`
	More    bool           `json:"m,omitempty"`
	Stamped bool           `json:"t,omitempty"`
}

func recordOf(id uint64, t *storage.SharedTransaction) record {
	r := record{ID: id, Changes: make([]recordedChange, len(t.Changes))}
	for i, c := range t.Changes {
		r.Changes[i] = recordedChange{
			Key: c.Key, Delete: c.Object == nil, Pattern: c.Pattern, Clear: c.Clear, Reason: c.Reason, Silent: c.Silent,
			More: c.More, Stamped: c.Stamped,
		}
	}
	return r
}

func (r record) encoded() string {
	encoded, err := json.Marshal(r)
	if err != nil {
		panic(err) // it has only numbers, flags and valid paths
	}
	return string(encoded)
}

func decodeRecord(stored string, value []byte) (r record, err error) {
	if err = json.Unmarshal(value, &r); err != nil {
		err = fmt.Errorf("%w, the record %q in etcd cannot be read, %w; delete it with etcd's own tools", storage.ErrUndecodable, stored, err)
	}
	return r, err
}
