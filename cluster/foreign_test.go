package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/storage"
)

// What other software writes below the prefix and no store can read stops the followers, with the key where an operator looks;
// they go on once it is mended, though the history holds it for good.
func TestForeignKeysThatNobodyCanRead(t *testing.T) {
	for name, key := range map[string]string{
		"no key of an object":   "o/no separator",
		"another key of a path": "o/a\x00b/c",
		"no object":             "o/k\x00broken",
		"a record that is none": "n/somebody",
	} {
		t.Run(name, func(t *testing.T) {
			prefix := freshPrefix()
			a, b := startStore(t, []string{endpoint}, prefix), startStore(t, []string{endpoint}, prefix)
			_, err := a.Set("k/1", json.RawMessage(`1`))
			must(t, "Set", err)
			must(t, "Barrier", b.Barrier(t.Context()))
			c := newClient(t)
			_, err = c.Put(t.Context(), prefix+key, "foreign")
			must(t, "Put", err)
			if strings.HasPrefix(key, "o/") {
				for !errors.Is(b.Stats().Unavailable, storage.ErrUndecodable) {
					if t.Context().Err() != nil {
						t.Fatalf("Stats.Unavailable is %v", b.Stats().Unavailable)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if told := fmt.Sprint(b.Stats().Unavailable); !strings.Contains(told, "broken") && !strings.Contains(told, strings.Trim(fmt.Sprintf("%q", key), `"`)) {
					t.Errorf("Stats.Unavailable does not name the key: %s", told)
				}
				if _, err := b.Get("k/1"); err != nil {
					t.Errorf("Get beside it: %v", err)
				}
			}
			_, err = c.Delete(t.Context(), prefix+key)
			must(t, "Delete", err)
			for _, s := range []*storage.Layered{a, b} {
				for {
					_, err := s.Set("k/2", json.RawMessage(`1`))
					if err == nil {
						break
					}
					if !errors.Is(err, storage.ErrUnavailable) {
						t.Fatalf("Set: %v", err)
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
}

// What Mirror yields ends with its context, as Close ends the follower.
func TestMirrorEndsWithItsContext(t *testing.T) {
	prefix := freshPrefix()
	layer := etcd.New([]string{endpoint}, etcd.Options{Prefix: prefix})
	must(t, "Start", layer.Start(storage.LayerOptions{}))
	defer layer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	_, objects, err := layer.Mirror(ctx)
	must(t, "Mirror", err)
	cancel()
	for _, err = range objects {
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the objects end with %v, want context.Canceled", err)
	}
}
