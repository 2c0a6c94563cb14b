package sqlite

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// start returns a started layer on a file, closed at the end of the test.
func start(t testing.TB, file string, options Options) *Layer {
	t.Helper()
	l := New(file, options)
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func object(path string, created int64, data string) *meta.Object {
	return &meta.Object{Path: path, Index: key.LastIndex(path), Created: created, Data: json.RawMessage(data)}
}

func set(t testing.TB, l *Layer, paths ...string) {
	t.Helper()
	for i, path := range paths {
		if err := l.Set(path, object(path, int64(i+1), fmt.Sprintf("%q", path))); err != nil {
			t.Fatal(err)
		}
	}
}

func keys(t testing.TB, l *Layer) []string {
	t.Helper()
	paths, err := l.Keys()
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
