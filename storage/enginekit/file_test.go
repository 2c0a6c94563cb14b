package enginekit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPrepareDir(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var synced []string
	sync := func(dir string) error { synced = append(synced, dir); return nil }
	dir := filepath.Join(base, "not", "yet")
	for round, want := range [][]string{{base, filepath.Join(base, "not")}, nil} {
		synced = nil
		got, err := PrepareDir(dir, sync)
		if err != nil || got != dir || !slices.Equal(synced, want) {
			t.Errorf("round %d: it is %s, %v, after a sync of %q, expected %s after %q", round, got, err, synced, dir, want)
		}
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if got, err := PrepareDir(link, sync); err != nil || got != dir {
		t.Errorf("the one true name of a link is %s, %v, expected %s", got, err, dir)
	}
	file := filepath.Join(base, "file")
	if err := WriteSynced(file, []byte("text")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"": "is empty", file: "is a file, expected a directory", filepath.Join(file, "x"): file} {
		if _, err := PrepareDir(name, sync); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v, expected %s", name, err, text)
		}
	}
	failure := errors.New("a failure")
	if _, err := PrepareDir(filepath.Join(base, "other"), func(string) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("a sync that fails: %v", err)
	}
}

func TestReplaceFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "note")
	for _, content := range []string{"first, which is longer", "second"} {
		if err := ReplaceFile(name, []byte(content), SyncDir); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != content {
			t.Errorf("the file holds %q, %v, expected %q", got, err, content)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
		t.Errorf("beside the file there is more: %v, %v", left, err)
	}
	failure := errors.New("a failure")
	if err := ReplaceFile(name, nil, func(string) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("a sync that fails: %v", err)
	}
}

func TestCheckFormat(t *testing.T) {
	for content, text := range map[string]string{
		FormatLine("oolith-x", 1): "",
		FormatLine("oolith-x", 2): "",
		"oolith-x 2":              "",
		FormatLine("oolith-x", 3): "version 3, this build knows up to 2; use a newer build",
		FormatLine("oolith-y", 1): `its file FORMAT says "oolith-y 1\n", expected "oolith-x 2"`,
		"oolith-x 0\n":            "no store of this kind",
		"oolith-x one\n":          "no store of this kind",
		"oolith-x":                "no store of this kind",
		"":                        "no store of this kind",
	} {
		err := CheckFormat(content, "oolith-x", 2)
		if text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
			t.Errorf("%q: %v, expected %q", content, err, text)
		}
	}
}
