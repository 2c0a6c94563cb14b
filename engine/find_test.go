package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/storage"
)

func TestFind(t *testing.T) {
	fake := func(scheme, file string) engine.Engine {
		return engine.New(scheme, "DIRECTORY", nil, func(string, struct{}) storage.EmbeddedLayer { return nil }).Recognized(func(location string) (bool, error) {
			_, err := os.Stat(filepath.Join(location, file))
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil
			}
			return err == nil, err
		})
	}
	broken := fake("broken", "x").Recognized(func(string) (bool, error) { return false, errors.New("the disk is gone") })
	one, two := fake("one", "1"), fake("two", "2")
	dir := filepath.Join(t.TempDir(), "a?b%")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	check := func(location, want, text string, absent bool, engines ...engine.Engine) {
		t.Helper()
		got, err := engine.Find(location, engines...)
		switch {
		case text == "" && (err != nil || got != want):
			t.Errorf("Find(%q) = %q, %v, want %q", location, got, err, want)
		case text != "" && (got != "" || !errors.Is(err, engine.ErrInvalidURL) || !strings.Contains(err.Error(), text) || errors.Is(err, fs.ErrNotExist) != absent):
			t.Errorf("Find(%q) = %q, %v, want an error with %q", location, got, err, text)
		}
	}
	check(filepath.Join(dir, "none"), "", "nothing is there, and a new store needs the name of its engine, expected one of "+engine.URL("one", dir), true, one, two)
	check(dir, "", "no engine recognizes the files", false, one, two)
	check(dir, "", "the disk is gone", false, broken)
	for _, name := range []string{"2", "1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "2" {
			check(dir, engine.URL("two", dir), "", false, one, two)
		}
	}
	check(dir, "", "several engines, expected one of "+engine.URL("one", dir)+", "+engine.URL("two", dir), false, one, two)
	if location, err := engine.Location(engine.URL("two", dir)); err != nil || location != dir {
		t.Errorf("the URL leads to %q, %v", location, err)
	}
}
