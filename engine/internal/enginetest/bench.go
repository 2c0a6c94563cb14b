package enginetest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// BenchData is 150 bytes of JSON.
var BenchData = json.RawMessage(`{"name":"Lisbon","country":"PT","population":517802,"latitude":38.71667,"longitude":-9.13333,"timezone":"Europe/Lisbon","elevation":15,"code":"PPLC-1"}`)

// BenchChange returns a put of the n-th object of a benchmark, in lists of a thousand.
func BenchChange(n int) storage.Change {
	obj := &meta.Object{Created: 1700000000000000000 + int64(n)*1000, Revision: uint64(n + 1), Data: BenchData}
	return storage.Change{Key: fmt.Sprintf("cities/%04d/%07d", n/1000, n), Object: obj, Revision: uint64(n + 1)}
}

// BenchFill stores objects in groups.
func BenchFill(b *testing.B, l storage.Batcher, objects, group int) {
	b.Helper()
	for first := 0; first < objects; first += group {
		changes := make([]storage.Change, 0, group)
		for n := first; n < min(first+group, objects); n++ {
			changes = append(changes, BenchChange(n))
		}
		if err := l.Commit(changes); err != nil {
			b.Fatal(err)
		}
	}
}
