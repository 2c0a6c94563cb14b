package enginetest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// TestLostFiles removes each file of a store in turn, all files of each kind, and all empty files. It also truncates
// each file to nothing and to three quarters, and fills it with zeros. The rest must either be rejected with a
// one-line error, with no file created, changed or removed, or open with everything stored or with an error for reads
// of it. The function unknown reports the cases in which neither is possible, because a crash may leave the same
// state.
func TestLostFiles(t *testing.T, store string, in func(dir string) Layer, unknown func(how, name string) bool) {
	l := in(Copy(t, store))
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	want := Keys(t, l)
	l.Close()
	kinds := map[string][]string{}
	entries, err := os.ReadDir(store)
	if err != nil || len(want) == 0 || len(entries) == 0 {
		t.Fatalf("%d objects in %d files, %v", len(want), len(entries), err)
	}
	for _, entry := range entries {
		name := entry.Name()
		kinds[name] = []string{name}
		kind := "all like " + regexp.MustCompile(`[0-9]+`).ReplaceAllString(name, "N")
		kinds[kind] = append(kinds[kind], name)
		if info, err := entry.Info(); err == nil && info.Size() == 0 {
			kinds["all that are empty"] = append(kinds["all that are empty"], name)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for how, lose := range map[string]func(name string) error{
			"removed": os.Remove,
			"emptied": func(name string) error { return os.Truncate(name, 0) },
			"cut":     cutShort,
			"zeroed":  zero,
		} {
			if unknown(how, kind) {
				continue
			}
			t.Run(how+" "+kind, func(t *testing.T) {
				dir := Copy(t, store)
				for _, name := range kinds[kind] {
					if err := lose(filepath.Join(dir, name)); err != nil {
						t.Fatal(err)
					}
				}
				testLeft(t, dir, in, want)
			})
		}
	}
}

// cutShort removes the last quarter of a file.
func cutShort(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return os.Truncate(name, info.Size()*3/4)
}

// zero fills a file with zeros.
func zero(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, make([]byte, info.Size()), 0o644)
}

// testLeft tests the rest of a store that held the given keys.
func testLeft(t *testing.T, dir string, in func(dir string) Layer, want []string) {
	before := Digest(t, dir)
	l := in(dir)
	if err := l.Start(storage.LayerOptions{}); err != nil {
		MustRefuse(t, l, dir)
		if after := Digest(t, dir); after != before {
			t.Errorf("the start failed with %v, and the files were\n%s and are\n%s", err, before, after)
		}
		return
	}
	defer l.Close()
	objects, err := l.Load()
	if err != nil {
		return // reported
	}
	if got := slices.Sorted(maps.Keys(objects)); !slices.Equal(got, want) {
		t.Errorf("the start succeeded, and of %d objects %d are there", len(want), len(got))
	}
}
