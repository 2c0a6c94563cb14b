package command

import (
	"strings"
	"testing"

	"github.com/oolith-db/oolith/key"
)

func TestPush(t *testing.T) {
	c := newCLI(t)
	first := strings.TrimSpace(c.run("push", "log/*", `{"n":1}`).ok().out)
	second := strings.TrimSpace(c.input(`{"n":2}`, "push", "log/*", "-").ok().out)
	if !key.Match("log/*", first) || first == second {
		t.Fatalf("pushed to %q and %q, want two paths in log", first, second)
	}
	c.run("get", first).ok().prints(`{"n":1}` + "\n")
	c.run("get", second).ok().prints(`{"n":2}` + "\n")
	c.run("push", "log/*", "3", "--json").ok().contains(`"path":"log/`, `"data":3`, `"revision":3`)
	c.run("push", "log", "1").is(exitUsage, `push "log"`)
	c.run("push", "*/log", "1").is(exitUsage, `push "*/log"`)
	c.run("push", "log/**", "1").is(exitUsage, `push "log/**"`)
	c.run("push", "log/*", "blue").is(exitUsage, "data: invalid JSON")
}
