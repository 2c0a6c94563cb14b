package backup_test

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/backup"
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// layouts are the kinds of stores that a backup is made of.
var layouts = []struct {
	name   string
	config func(t testing.TB) storage.LayeredConfig
}{
	{"memory", func(testing.TB) storage.LayeredConfig {
		return storage.LayeredConfig{Memory: storage.NewMemoryLayer()}
	}},
	{"memory over pebble", func(t testing.TB) storage.LayeredConfig {
		return storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: newPebble(t)}
	}},
	{"pebble alone", func(t testing.TB) storage.LayeredConfig {
		return storage.LayeredConfig{Embedded: newPebble(t)}
	}},
}

// newPebble is fast, as no test here is about a power cut.
func newPebble(t testing.TB) storage.EmbeddedLayer {
	return pebble.New(t.TempDir(), pebble.Options{Durability: pebble.DurabilityNoSync})
}

// newDisk returns a layer in memory whose content survives its Close.
func newDisk() *storagetest.BatchLayer { return storagetest.NewBatchLayer(&storagetest.Disk{}, "d") }

func started(t testing.TB, config storage.LayeredConfig) *storage.Layered {
	t.Helper()
	store := storage.New(config)
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

func inMemory(t testing.TB) *storage.Layered {
	t.Helper()
	return started(t, storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
}

func put(t testing.TB, store *storage.Layered, path, data string) {
	t.Helper()
	if _, err := store.Set(path, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// written returns a backup of a store, made without pauses.
func written(t testing.TB, store *storage.Layered, opt backup.WriteOptions) ([]byte, backup.Info) {
	t.Helper()
	opt.Share = 1
	var file bytes.Buffer
	info, err := backup.Write(t.Context(), store, &file, opt)
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), info
}

// sample returns a backup of three objects.
func sample(t testing.TB) ([]byte, backup.Info) {
	t.Helper()
	store := inMemory(t)
	put(t, store, "a/1", `{"n":1}`)
	put(t, store, "b/1", `"two"`)
	put(t, store, "b/2", `[3]`)
	return written(t, store, backup.WriteOptions{})
}

// content returns what a closed layer holds: a line for each object, with all that it has.
func content(t testing.TB, layer storage.EmbeddedLayer) []string {
	t.Helper()
	if err := layer.Start(storage.LayerOptions{AllowIncomplete: true}); err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	return lines(t, storage.Scan(layer, ""))
}

func lines(t testing.TB, objects iter.Seq2[meta.Object, error]) []string {
	t.Helper()
	found := []string{}
	for obj, err := range objects {
		if err != nil {
			t.Fatal(err)
		}
		data := string(obj.Data)
		if len(data) > 100 {
			data = fmt.Sprintf("%s...%d", data[:100], len(data))
		}
		found = append(found, fmt.Sprint(obj.Path, " ", obj.Index, " ", obj.Created, " ", obj.Updated, " ", obj.Expires, " @", obj.Revision, " ", data))
	}
	return found
}

// lastRevision is that of a closed layer.
func lastRevision(t testing.TB, layer storage.EmbeddedLayer) uint64 {
	t.Helper()
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	last, err := layer.(storage.Batcher).LastRevision()
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// streamed hides that a reader can seek.
func streamed(file []byte) io.Reader { return io.MultiReader(bytes.NewReader(file)) }

// oneLine demands an error of one line.
func oneLine(t testing.TB, err error) {
	t.Helper()
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "backup: ") {
		t.Errorf("%v, want an error of one line that names the package", err)
	}
}
