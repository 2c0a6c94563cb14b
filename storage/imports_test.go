package storage_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The core must stay light: whoever imports it gets no engine and no framework.
func TestImports(t *testing.T) {
	const module = "github.com/oolith-db/oolith/"
	allowed := []string{
		module + "meta", module + "key", module + "monotonic", module + "storage", module + "internal/",
		"github.com/puzpuzpuz/xsync/v4", // the map
		"github.com/tidwall/btree",      // the tree
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}",
		"../meta", "../key", "../monotonic", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	imports := strings.Fields(string(out))
	if len(imports) < 5 {
		t.Fatalf("go list named only %q", imports)
	}
	for _, path := range imports {
		ok := false
		for _, prefix := range allowed {
			ok = ok || path == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(path, prefix) ||
				!strings.HasPrefix(path, module) && strings.HasPrefix(path, prefix+"/")
		}
		if !ok {
			t.Errorf("the core imports %s, expected only the standard library, its siblings, %v", path, allowed)
		}
	}
}
