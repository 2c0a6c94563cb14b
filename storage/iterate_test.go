package storage

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

// TestIterateScansOnce counts what an iteration reads of the persistent layer: one scan, and each
// object that is beyond what is kept once more.
func TestIterateScansOnce(t *testing.T) {
	fromLayer := func(k kind) bool { return k.fromLayer }
	for _, c := range []struct {
		name    string
		objects int
		size    int // of the data
	}{
		{"many", 20_000, 2},
		{"many more", 80_000, 2},
		{"more than is kept", 40, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, Options{}, fromLayer, func(t *testing.T, _ kind, s *Layered, fake *fakeBatcher) {
				data := json.RawMessage(`"` + strings.Repeat("x", c.size-2) + `"`)
				for i := range c.objects {
					path := fmt.Sprintf("d/%d", i*7919%c.objects)
					obj := placed(meta.Object{Created: int64(i + 1), Data: data, Revision: uint64(i + 1)}, path)
					fake.mu.Lock()
					fake.put(path, &obj)
					fake.mu.Unlock()
				}
				s.run.Load().expirer.work.Wait() // the search for what expires scans too
				var reads, gets atomic.Int64
				fake.onCall(func(method, _ string) error {
					switch method {
					case "Scan", "GetList", "Load":
						reads.Add(1)
					case "Get":
						gets.Add(1)
					}
					return nil
				})
				created := int64(0)
				for obj, err := range s.Iterate("d/*", ListOptions{}) {
					if err != nil || obj.Created != created+1 || len(obj.Data) != c.size {
						t.Fatalf("after the object of %d comes %d, %d bytes, %v", created, obj.Created, len(obj.Data), err)
					}
					created++
				}
				beyond := int64(max(0, c.objects-iterateBytes/(c.size+placeBytes)))
				if created != int64(c.objects) || reads.Load() != 1 || gets.Load() != beyond {
					t.Errorf("%d objects of %d in %d scans and %d reads, want 1 and %d", created, c.objects, reads.Load(), gets.Load(), beyond)
				}
			})
		})
	}
}

// TestIterateRereads changes what is beyond what an iteration keeps, while it goes on.
func TestIterateRereads(t *testing.T) {
	each(t, Options{}, func(k kind) bool { return k.fromLayer }, func(t *testing.T, _ kind, s *Layered, _ *fakeBatcher) {
		data := json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
		for i := range 40 {
			_, err := s.SetWith(fmt.Sprintf("d/%02d", i), data, SetOptions{Times: &Times{Created: int64(i + 1)}})
			must(t, err)
		}
		var got []string
		for obj, err := range s.Iterate("d/*", ListOptions{}) {
			must(t, err)
			if len(got) == 0 {
				must(t, s.Del("d/39"))
				must(t, s.Del("d/38"))
				_, err = s.Set("d/38", json.RawMessage(`1`)) // at another time
				must(t, err)
				_, err = s.Set("d/37", json.RawMessage(`2`))
				must(t, err)
			}
			got = append(got, obj.Path)
			if obj.Path == "d/37" && string(obj.Data) != "2" {
				t.Error("d/37 is as it was")
			}
		}
		if len(got) != 38 || got[37] != "d/37" {
			t.Errorf("%d objects, want 38: %v", len(got), got)
		}
	})
}

// TestIterateOverDirectories holds an iteration against the list, where pages would look at
// each directory each time.
func TestIterateOverDirectories(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, _ kind, s *Layered, _ *fakeBatcher) {
		for i := range 3 * iteratePage {
			_, err := s.Set(fmt.Sprintf("d/%d/profile", i*7919%1000), json.RawMessage(`1`))
			must(t, err)
		}
		want, err := s.GetListDescending("d/*/profile")
		must(t, err)
		i := 0
		for obj, err := range s.Iterate("d/*/profile", ListOptions{Descending: true}) {
			must(t, err)
			if i == len(want) || !same(obj, want[i]) {
				t.Fatalf("object %d is %s, the list has another", i, show(obj))
			}
			i++
		}
		if i != len(want) {
			t.Errorf("%d objects, the list has %d", i, len(want))
		}
	})
}
