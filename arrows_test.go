package oolith_test

import (
	"os/exec"
	"strings"
	"testing"
)

// arrow says what the packages at a path may import: other packages of this module, and
// modules of others. A path names a package and those below it. Of several the longest counts.
type arrow struct {
	from string
	to   []string
	// foreign are the modules of others; nil for none, {"*"} for any.
	foreign []string
}

var (
	core = []string{"meta", "key", "monotonic", "internal"}
	// =storage is that package alone: storage/enginekit, below it, is for engines.
	onStorage = append([]string{"=storage"}, core...)
	onKit     = append([]string{"storage/enginekit"}, onStorage...)
	// An engine makes an engine.Engine of itself; =engine is that package alone, and no other engine. Engines share the
	// locks of files, and those of the LevelDB family the code that reads its files.
	anEngine  = append([]string{"=engine", "engine/internal/filelock"}, onKit...)
	ofLevels  = append([]string{"engine/internal/levelfiles"}, anEngine...)
	anyModule = []string{"*"}
	// mapAndTree are all that the core takes from others: a map and a tree.
	mapAndTree = []string{"github.com/puzpuzpuz/xsync/v4", "github.com/tidwall/btree"}
)

// arrows point down only: meta key monotonic internal <- storage <- storagetest, engines and what
// builds on a store <- oolith, server <- cmd. An engine never imports another one: what any engine needs is in
// storage/enginekit, what some of ours share in engine/internal. Whoever adds a package adds its arrow.
var arrows = []arrow{
	{from: "meta"},
	{from: "monotonic"},
	{from: "key", to: []string{"monotonic"}},
	{from: "internal", to: core},
	{from: "internal/pathtree", to: core, foreign: mapAndTree},
	{from: "internal/secondchance", to: core, foreign: mapAndTree},
	{from: "storage", to: core, foreign: mapAndTree},

	{from: "storagetest", to: onStorage},
	{from: "collection", to: onStorage},
	{from: "patch", to: onStorage, foreign: []string{"github.com/evanphx/json-patch/v5"}},
	{from: "backup", to: onStorage, foreign: []string{"github.com/klauspost/compress"}},
	{from: "metrics", to: onStorage, foreign: []string{"github.com/prometheus/client_golang"}},
	{from: "storage/enginekit", to: onStorage},
	{from: "engine/internal/filelock", foreign: []string{"golang.org/x/sys"}},
	{from: "engine/internal/levelfiles"},
	{from: "engine/internal/enginetest", to: append([]string{"storagetest", "engine/internal/levelfiles"}, onKit...), foreign: []string{"golang.org/x/sys"}},
	{from: "engine", to: []string{"=storage"}},
	{from: "engine/badger", to: anEngine, foreign: anyModule},
	{from: "engine/ko", to: ofLevels, foreign: anyModule},
	{from: "engine/pebble", to: ofLevels, foreign: anyModule},
	{from: "engine/sqlite", to: anEngine, foreign: anyModule},
	{from: "engine/all", to: []string{"engine"}},

	{from: "", to: []string{"=engine", "=storage"}},
	{from: "server", to: []string{"", "server/internal", "server/ui", "=engine", "collection", "patch", "backup", "metrics", "=storage", "meta", "key", "monotonic", "internal"}, foreign: anyModule},
	{from: "client", to: []string{"=storage", "meta", "key", "internal/jsontext"}},
	{from: "servertest", to: []string{"server", "client", "=storage"}},
	{from: "internal/command", to: anyModule, foreign: anyModule},
	{from: "cmd", to: []string{"internal/command"}},
	// What is wrong in a library, shown with that library alone.
	{from: "docs/upstream", to: []string{}, foreign: anyModule},
	// Examples show what others can do: nothing internal, and no library but the system's.
	{from: "examples", to: []string{"", "engine", "collection", "patch", "backup", "metrics", "server", "storage", "storagetest", "meta", "key"}, foreign: []string{"golang.org/x/sys"}},
}

const (
	module = "github.com/oolith-db/oolith"
	// program is the command line: above all packages but those that start it.
	program = "internal/command"
	// testrand is for tests, and for the package that has tests of all engines.
	testrand = "internal/testrand"
)

func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) < 15 {
		t.Fatalf("go list names only %d packages", len(lines))
	}
	for _, line := range lines {
		from, imports, _ := strings.Cut(line, " ")
		for _, wrong := range offences(from, strings.Fields(imports)) {
			t.Error(wrong)
		}
	}
}

// The engine for etcd is in a module of its own: who does not import it gets no package of etcd, and no gRPC.
func TestNoEtcdHere(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-test", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 100 {
		t.Fatalf("go list names only %d packages", len(packages))
	}
	for _, path := range packages {
		if strings.HasPrefix(path, "go.etcd.io/etcd/") || strings.HasPrefix(path, "google.golang.org/grpc") || strings.HasPrefix(path, module+"/engine/etcd") {
			t.Errorf("the main module depends on %s", path)
		}
	}
}

// offences are what a package imports against its arrow, in words.
func offences(from string, imports []string) (wrong []string) {
	from = inModule(from)
	rule := arrowOf(from)
	if rule == nil {
		return []string{"package " + from + " has no arrow in arrows_test.go"}
	}
	for _, path := range imports {
		switch own := path == module || strings.HasPrefix(path, module+"/"); {
		case inModule(path) == program && !strings.HasPrefix(from, "cmd/"):
			wrong = append(wrong, from+" imports "+program+", which is for the programs in cmd alone")
		case inModule(path) == testrand && from != "engine/internal/enginetest":
			wrong = append(wrong, from+" imports "+testrand+", which is for tests alone")
		case own && !allows(rule.to, inModule(path)):
			wrong = append(wrong, from+" imports "+inModule(path)+", expected only packages below it: "+strings.Join(rule.to, " "))
		case !own && isForeign(path) && !allows(rule.foreign, path):
			wrong = append(wrong, from+" imports "+path+", expected of others only: "+strings.Join(rule.foreign, " "))
		}
	}
	return wrong
}

// inModule is a package's path within the module; empty for the root.
func inModule(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

// isForeign tells a path of a module from one of the standard library.
func isForeign(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

func arrowOf(from string) (longest *arrow) {
	for i, a := range arrows {
		if (from == a.from || a.from != "" && strings.HasPrefix(from, a.from+"/")) &&
			(longest == nil || len(a.from) > len(longest.from)) {
			longest = &arrows[i]
		}
	}
	return longest
}

// allows reports whether one of the names is a path or above it. The root is only itself, and so is what has
// a = before it.
func allows(names []string, path string) bool {
	for _, name := range names {
		if name == "*" || name == path || name == "="+path || name != "" && strings.HasPrefix(path, name+"/") {
			return true
		}
	}
	return false
}

// The test itself is tested: each of these must be an offence, or none.
func TestArrowsPointDown(t *testing.T) {
	for _, c := range []struct {
		from, to string
		wrong    bool
	}{
		{"storage", "internal/pathtree", false},
		{"storage", "engine/pebble", true},
		{"storage", "storagetest", true},
		{"key", "storage", true},
		{"internal/codec", "storage", true},
		{"engine/pebble", "storage", false},
		{"engine/pebble", "engine/sqlite", true},
		{"engine/pebble", "engine", false},
		{"engine/pebble", "storage/enginekit", false},
		{"engine/pebble", "engine/internal/levelfiles", false},
		{"engine/sqlite", "engine/internal/levelfiles", true},
		{"engine/pebble", "engine/internal/enginetest", true},
		{"storage/enginekit", "storage", false},
		{"storage/enginekit", "engine/pebble", true},
		{"storage/enginekit", "engine/internal/levelfiles", true},
		{"storage", "storage/enginekit", true},
		{"collection", "storage/enginekit", true},
		{"examples/engine/jsonlog", "storage/enginekit", false},
		{"engine", "engine/pebble", true},
		{"engine/all", "engine/pebble", false},
		{"engine", "", true},
		{"storagetest", "engine/pebble", true},
		{"collection", "patch", true},
		{"", "engine", false},
		{"", "engine/pebble", true},
		{"", "server", true},
		{"server", "", false},
		{"server", "internal/command", true},
		{"cmd/oolith", "internal/command", false},
		{"internal/command", "server", false},
		{"examples/counter", "internal/codec", true},
		{"unheard/of", "storage", true},
		{"storage", "internal/testrand", true},
		{"engine/internal/enginetest", "internal/testrand", false},
	} {
		got := offences(module+"/"+c.from, []string{strings.TrimSuffix(module+"/"+c.to, "/")})
		if (len(got) > 0) != c.wrong {
			t.Errorf("%q imports %q: offences %q, want some: %v", c.from, c.to, got, c.wrong)
		}
	}
	for _, c := range []struct {
		from, path string
		wrong      bool
	}{
		{"storage", "slices", false},
		{"storage", "github.com/tidwall/btree", false},
		{"storage", "github.com/tidwall/gjson", true},
		{"internal/pathtree", "github.com/tidwall/btree", false},
		{"storagetest", "github.com/stretchr/testify", true},
		{"engine/pebble", "github.com/cockroachdb/pebble/v2/vfs", false},
		{"", "github.com/spf13/cobra", true},
	} {
		if got := offences(module+"/"+c.from, []string{c.path}); (len(got) > 0) != c.wrong {
			t.Errorf("%q imports %q: offences %q, want some: %v", c.from, c.path, got, c.wrong)
		}
	}
}
