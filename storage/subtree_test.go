package storage

import (
	"fmt"
	"slices"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// olderLayer is a plain layer that was written before there were subtree patterns: it refuses them.
type olderLayer struct{ EmbeddedLayer }

func (l olderLayer) GetList(pattern string) ([]meta.Object, error) {
	if !key.IsValid(pattern) {
		return nil, fmt.Errorf("%q: %w", pattern, ErrInvalidPath)
	}
	return l.EmbeddedLayer.GetList(pattern)
}

// loadedLayer makes a MemoryLayer one that can load.
type loadedLayer struct{ *MemoryLayer }

func (l loadedLayer) Load() (map[string]*meta.Object, error) {
	all, err := l.GetList("**")
	objects := make(map[string]*meta.Object)
	for i := range all {
		objects[all[i].Path] = &all[i]
	}
	return objects, err
}

// A layer that knows no subtree patterns serves them all the same: it is asked for everything.
func TestSubtreesOverAnOlderLayer(t *testing.T) {
	s := New(LayeredConfig{Embedded: olderLayer{loadedLayer{NewMemoryLayer()}}})
	if err := s.Start(Options{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, path := range []string{"a", "a/1", "a/b/2", "a/b/c/3", "ab/1"} {
		if _, err := s.Set(path, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.GetList("a/**")
	if err != nil || len(list) != 3 {
		t.Errorf("GetList = %v, %v, want 3 objects", list, err)
	}
	if got, err := s.Directories("a"); err != nil || !slices.Equal(got, []Directory{{"b", 1, 1}}) {
		t.Errorf("Directories = %v, %v, want b with an object and a directory", got, err)
	}
	if err := s.Del("a/**"); err != nil {
		t.Error(err)
	}
	if keys, err := s.Keys(); err != nil || !slices.Equal(keys, []string{"a", "ab/1"}) {
		t.Errorf("Keys after the delete = %v, %v, want a and ab/1", keys, err)
	}
}

// A rule with a subtree pattern limits each directory at or below its root by itself.
func TestRetentionOfASubtree(t *testing.T) {
	s := New(LayeredConfig{Memory: NewMemoryLayer()})
	if err := s.Start(Options{Retention: []Retention{{Pattern: "logs/**", Count: 2}}}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 5 {
		for _, dir := range []string{"logs", "logs/a", "logs/a/b", "other"} {
			if _, err := s.Set(fmt.Sprintf("%s/%d", dir, i), []byte("1")); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []string{
		"logs/3", "logs/4", "logs/a/3", "logs/a/4", "logs/a/b/3", "logs/a/b/4",
		"other/0", "other/1", "other/2", "other/3", "other/4",
	}
	if keys, err := s.Keys(); err != nil || !slices.Equal(keys, want) {
		t.Errorf("Keys = %v, %v, want %v", keys, err, want)
	}
}
