package oolith_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Links from one document to another file lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	documents := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		documents++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			if to := found[1]; !strings.Contains(to, "://") && !strings.HasPrefix(to, "mailto:") {
				if _, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(to))); err != nil {
					t.Errorf("%s links to %s: %v", path, to, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if documents < 5 {
		t.Fatalf("only %d documents were found", documents)
	}
}

// CONTRIBUTING.md says where things are: of every directory, and of none that is not there.
func TestWhereThingsAre(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Where things are")
	table, _, _ = strings.Cut(table, "\nImports point down")
	named := map[string]bool{}
	for _, found := range regexp.MustCompile("`([a-z][a-z0-9/._*-]*)`").FindAllStringSubmatch(table, -1) {
		name := found[1]
		if matches, err := filepath.Glob(name); err != nil || len(matches) == 0 {
			t.Errorf("CONTRIBUTING.md sends the reader to %s, which is not there", name)
		}
		for name != "." {
			named[name] = true
			name = filepath.Dir(name)
		}
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); entry.IsDir() && !strings.HasPrefix(name, ".") && name != "oolith-data" && !named[name] {
			t.Errorf("CONTRIBUTING.md does not say what is in %s", name)
		}
	}
}

// The limits in SECURITY.md are those in the code.
func TestLimits(t *testing.T) {
	document, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []struct{ file, constant, told string }{
		{"key/key.go", "MaxLength = 1024", "| a path or a pattern | 1024 bytes |"},
		{"internal/jsonvalid/jsonvalid.go", "maxDepth = 10000", "| the nesting of a JSON value | 10,000 levels |"},
		{"engine/pebble/pebble.go", "defaultMaxData = 512 << 20", "| the data of an object in `pebble` | 512 MiB |"},
		{"engine/pebble/write.go", "maxBatch = 1 << 30", "| an atomic batch in `pebble` | 1 GiB |"},
		{"engine/sqlite/sqlite.go", "maxData64, maxData32 = 512 << 20, 16 << 20", "| in `sqlite` | 512 MiB; 16 MiB on 32-bit machines |"},
		{"engine/ko/ko.go", "defaultMaxData = 256 << 20", "| in `ko` | 256 MiB |"},
		{"engine/ko/write.go", "defaultMaxBatch = 512 << 20", "| in `ko` | 512 MiB |"},
		{"engine/badger/badger.go", "defaultMaxData = 1023 << 10", "| in `badger` | 1023 KiB; less on a disk below 2 GiB |"},
		{"patch/patch.go", "MaxDepth = 1000", "| the levels of a patch, and of what it is applied to | 1000 |"},
		{"patch/patch.go", "MaxOperations = 10_000", "| the operations of a JSON Patch | 10,000,"},
		{"patch/patch.go", "MaxCopied = 16 << 20", "that copy 16 MiB in all |"},
		{"internal/command/reader.go", "maxRecord = 512<<20 + 64<<10", "| a record that `oolith import` reads | 512 MiB, and 9,999 levels of data |"},
		{"backup/format.go", "maxBlock = 1 << 30", "| a record of a backup | 1 GiB |"},
		{"storage/backlog.go", "backlogLimit = 1 << 14", "16,384 changes behind"},
		{"storage/subscribe.go", "defaultBuffer = 1 << 14", "16,384 changes behind"},
		{"storage/history.go", "defaultHistory = 1 << 16", "65,536"},
		{"storage/history.go", "historyBytes = 64 << 20", "64 MiB of them"},
		{"storage/cache.go", "defaultCacheBytes = 64 << 20", "takes 64 MiB, or"},
	} {
		code, err := os.ReadFile(filepath.FromSlash(limit.file))
		if err != nil {
			t.Error(err)
			continue
		}
		name, value, _ := strings.Cut(limit.constant, " = ")
		if !regexp.MustCompile(`(?m)\b` + name + ` += ` + regexp.QuoteMeta(value) + `( //|$)`).Match(code) {
			t.Errorf("%s has no constant %s: is SECURITY.md still right?", limit.file, limit.constant)
		}
		if !strings.Contains(string(document), limit.told) {
			t.Errorf("SECURITY.md does not hold %q, the limit %s of %s", limit.told, limit.constant, limit.file)
		}
	}
}

// The platforms of docs/platforms.md are those that .ci/run builds for, and those of a release.
func TestPlatforms(t *testing.T) {
	read := func(name string, expression string) []string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var platforms []string
		for _, found := range regexp.MustCompile(expression).FindAllStringSubmatch(string(text), -1) {
			for field := range strings.FieldsSeq(found[1]) {
				platforms = append(platforms, strings.Replace(field, "_", "/", 1))
			}
		}
		slices.Sort(platforms)
		return platforms
	}
	documented := read("docs/platforms.md", `(?m)^\| (\w+/\w+) \| yes`)
	built := read(".ci/run", `(?m)^platforms=\((.*)\)$`)
	released := read(".goreleaser.yaml", `(?m)^      - (\w+_\w+)$`)
	if len(documented) < 9 || !slices.Equal(documented, built) || !slices.Equal(documented, released) {
		t.Errorf("documented are %v, built %v, released %v", documented, built, released)
	}
}
