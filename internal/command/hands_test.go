package command

import (
	"os"
	"strings"
	"testing"
)

// Several paths at once: what is there is shown or deleted, what is absent is told.
func TestSeveralPaths(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	for _, path := range []string{"a", "b", "c", "d"} {
		c.run("set", path, `"`+path+`"`).ok()
	}
	c.run("get", "a", "b").ok().prints("\"a\"\n\"b\"\n")
	r := c.run("get", "a", "none", "b", "nil")
	if r.is(exitNotFound, `"none"`); r.out != "\"a\"\n\"b\"\n" || !strings.Contains(r.errors, `"nil"`) {
		t.Errorf("get of some: %q, %q", r.out, r.errors)
	}
	c.run("del", "a", "b").ok().prints("deleted 2 objects\n")
	r = c.run("del", "c", "a", "d")
	if r.is(exitNotFound, `"a"`); r.out != "deleted 2 objects\n" {
		t.Errorf("del of some: %q", r.out)
	}
	c.run("del", "a").is(exitNotFound, `"a"`).prints("")
	c.run("del", "a", "b/*", "--yes").is(exitUsage, "expected one pattern or several paths")
	c.run("del", "a", "b", "--if-revision", "1").is(exitUsage, "--if-revision needs exactly one path")
	c.run("keys").ok().prints("")
}

// A list that is cut off says so, and one that is empty where it may go on.
func TestListHints(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	var lines strings.Builder
	for range 21 {
		lines.WriteString("{\"country\":\"pt\"}\n")
	}
	c.input(lines.String(), "import", "-", "--as", "cities/{country}/*").ok()
	r := c.run("list", "cities/pt/*")
	if strings.Count(r.out, "\n") != 20 || r.errors != "oolith: 20 are shown, but more match; --limit 0 shows all\n" || r.code != exitOK {
		t.Errorf("a list of 21: exit code %d, %q, %q", r.code, r.out, r.errors)
	}
	for _, limit := range []string{"0", "21", "3"} {
		c.run("list", "cities/pt/*", "--limit", limit).ok()
	}
	c.run("del", "cities/pt/*", "--yes")
	c.run("set", "cities/pt/lisbon", "1").ok()
	c.run("set", "cities/es/madrid", "1").ok()
	for _, pattern := range []string{"cities/*", "*"} {
		r := c.run("list", pattern)
		if !strings.Contains(r.errors, "below; try '"+pattern+"*'") || r.out != "" || r.code != exitOK {
			t.Errorf("list %s: exit code %d, %q, %q", pattern, r.code, r.out, r.errors)
		}
	}
	c.run("list", "none/*").ok()
}

func TestVersionFlag(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	want := c.run("version").ok().out
	for _, flag := range []string{"--version", "-v"} {
		c.run(flag).ok().prints(want)
	}
}

func TestExportToStandardOutput(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.run("set", "a", "1").ok()
	if want := c.run("export").ok().out; c.run("export", "-o", "-").ok().out != want || want == "" {
		t.Errorf("export -o - does not write what export does: %q", want)
	}
	if _, err := os.Stat("-"); err == nil {
		t.Error("export -o - makes a file")
	}
}

// A store is named by an argument, too.
func TestStoreByArgument(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.run("set", "a", "1").ok()
	other := c.store + "-copy"
	c.run("copy", c.store, other).ok()
	c.run("info", other).ok().contains(other)
	c.run("copy", c.store, "--to", other+"2").ok()
	c.run("copy", "--from", c.store, other+"3").ok()
	c.run("info", other+"3").ok()
}
