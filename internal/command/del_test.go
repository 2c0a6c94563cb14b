package command

import (
	"strings"
	"testing"
)

func TestDel(t *testing.T) {
	c := newCLI(t)
	c.days()
	c.run("del", "days/a").ok().prints("deleted 1 object\n")
	c.run("del", "days/a").is(exitNotFound, `del "days/a"`).prints("")
	c.run("del", "days/*", "--yes", "--json").ok().prints(`{"deleted":2}` + "\n")
	c.run("del", "days/*", "-y").ok().prints("deleted 0 objects\n")
	c.run("del", "a//b").is(exitUsage, `del "a//b"`)
	c.run("del", "a/**/b", "-y").is(exitUsage, "a/**/b")
	c.run("set", "tree/a", "1").ok()
	c.run("set", "tree/a/b/c", "1").ok()
	c.run("del", "tree/**", "-y").ok().prints("deleted 2 objects\n")
	c.run("keys").ok().prints("other/deep/d\n")
}

func TestDelOfAPatternAsks(t *testing.T) {
	c := newCLI(t)
	c.days()
	c.run("del", "days/*").is(exitUsage, "add --yes to delete a pattern without a terminal")
	c.env.in, c.env.err = terminal{is: true, width: 80}, terminal{is: true, width: 80}
	for _, answer := range []string{"n\n", "\n", "nope\n", ""} {
		r := c.input(answer, "del", "days/*")
		if r.code != exitFailure || !strings.HasPrefix(r.errors, "delete 3 objects that match days/*? [y/N] ") || !strings.Contains(r.errors, "nothing deleted") {
			t.Errorf("answer %q: exit code %d, %q, want a question and nothing deleted", answer, r.code, r.errors)
		}
	}
	c.run("keys", "days/*").ok().prints("days/a\ndays/b\ndays/c\n")
	for _, answer := range []string{"y\n", "YES\n"} {
		c.days()
		r := c.input(answer, "del", "days/*").prints("deleted 3 objects\n")
		if r.code != exitOK {
			t.Errorf("answer %q: exit code %d, want 0", answer, r.code)
		}
	}
	c.run("keys").ok().prints("other/deep/d\n")
	c.run("del", "days/*").ok().prints("deleted 0 objects\n") // nothing to ask about
}
