package all_test

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/oolith-db/oolith/backup"
	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/all"
	"github.com/oolith-db/oolith/storage"
)

// A store keeps its ID over a restart; what a backup of it is restored into is another store, on every engine. Those
// that cannot tell have another one after each start.
func TestIdentity(t *testing.T) {
	for _, c := range []struct {
		scheme string
		keeps  bool
	}{{"pebble", true}, {"sqlite", true}, {"badger", true}, {"ko", false}} {
		t.Run(c.scheme, func(t *testing.T) {
			config := func(name string) storage.LayeredConfig {
				config, err := engine.Config(engine.URL(c.scheme, filepath.Join(t.TempDir(), name)), all.Engines()...)
				if err != nil {
					t.Fatal(err)
				}
				return config
			}
			start := func(s *storage.Layered) uint64 {
				t.Helper()
				if err := s.Start(storage.Options{}); err != nil {
					t.Fatal(err)
				}
				if s.ID() == 0 {
					t.Fatal("a store that is started has no ID")
				}
				return s.ID()
			}
			s := storage.New(config("first"))
			if id := s.ID(); id != 0 {
				t.Errorf("before Start the ID is %d", id)
			}
			first := start(s)
			if _, err := s.Set("a/b", json.RawMessage(`1`)); err != nil {
				t.Fatal(err)
			}
			s.Close()
			again := start(s)
			if (again == first) != c.keeps {
				t.Errorf("the ID is %d, and after a restart %d; it stays: want %v", first, again, c.keeps)
			}
			var b bytes.Buffer
			if _, err := backup.Write(context.Background(), s, &b, backup.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			s.Close()
			target := config("restored")
			if _, err := backup.Restore(context.Background(), &b, target.Embedded, backup.RestoreOptions{}); err != nil {
				t.Fatal(err)
			}
			restored := storage.New(target)
			id := start(restored)
			defer restored.Close()
			if obj, err := restored.Get("a/b"); err != nil || string(obj.Data) != "1" {
				t.Errorf("restored is %s, %v", obj.Data, err)
			}
			if id == first || id == again {
				t.Errorf("the restored store has the ID %d of the one that was backed up", id)
			}
		})
	}
}
