package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// cli runs command lines in this process, on a store of its own.
type cli struct {
	t     *testing.T
	ctx   context.Context
	store string
	stdin io.Reader
	env   environment
}

// result is what a command line left.
type result struct {
	t           *testing.T
	line        string
	code        int
	out, errors string
}

// newCLI returns a runner on a store that does not exist yet, without terminals.
func newCLI(t *testing.T) *cli {
	c := &cli{t: t, ctx: t.Context(), store: "pebble:" + filepath.Join(t.TempDir(), "store"), stdin: strings.NewReader("")}
	c.env = environment{program: "oolith", getenv: func(name string) string {
		if name == storeVariable {
			return c.store
		}
		return ""
	}}
	return c
}

// run executes a command line.
func (c *cli) run(args ...string) result {
	c.t.Helper()
	var out, errs bytes.Buffer
	code := run(c.ctx, args, c.stdin, &out, &errs, c.env)
	return result{c.t, strings.Join(args, " "), code, out.String(), errs.String()}
}

// input runs a command line with a text on standard input.
func (c *cli) input(text string, args ...string) result {
	c.t.Helper()
	c.stdin = strings.NewReader(text)
	return c.run(args...)
}

// ok demands that the command succeeded and wrote nothing on standard error.
func (r result) ok() result {
	r.t.Helper()
	return r.is(exitOK, "")
}

// plainErrors is standard error with the objects of --json as the lines that they would be without.
func (r result) plainErrors() string {
	r.t.Helper()
	var plain strings.Builder
	for line := range strings.Lines(r.errors) {
		var message errorMessage
		if strings.HasPrefix(line, "{") {
			if err := json.Unmarshal([]byte(line), &message); err != nil || message.Code != r.code {
				r.t.Errorf("oolith %s: standard error: %q, %v, want an object with the code %d", r.line, line, err, r.code)
			}
			line = "oolith: " + message.Error + "\n"
		}
		plain.WriteString(line)
	}
	return plain.String()
}

// is demands an exit code and a text in the one line on standard error; nothing there for "".
func (r result) is(code int, errText string) result {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("oolith %s: exit code %d, want %d; standard error: %s", r.line, r.code, code, r.errors)
	}
	lines, plain := strings.Count(r.errors, "\n"), r.plainErrors()
	switch {
	case errText == "" && r.errors != "":
		r.t.Errorf("oolith %s: standard error: %q, want nothing", r.line, r.errors)
	case errText != "" && (lines != 1 || !strings.HasPrefix(plain, "oolith: ") || !strings.Contains(plain, errText)):
		r.t.Errorf("oolith %s: standard error: %q, want one line with %q", r.line, r.errors, errText)
	}
	return r
}

// prints demands a standard output.
func (r result) prints(want string) result {
	r.t.Helper()
	if r.out != want {
		r.t.Errorf("oolith %s: standard output\n%s\nwant\n%s", r.line, r.out, want)
	}
	return r
}

// contains demands texts in the standard output.
func (r result) contains(wants ...string) result {
	r.t.Helper()
	for _, want := range wants {
		if !strings.Contains(r.out, want) {
			r.t.Errorf("oolith %s: no %q in the standard output\n%s", r.line, want, r.out)
		}
	}
	return r
}

// directory is where the store of the runner is.
func (c *cli) directory() string { return location(c.store) }

// file makes a file with a content and returns its name.
func (c *cli) file(name, content string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// days stores four objects, one created on each of the first days of 2026.
func (c *cli) days() {
	c.t.Helper()
	const line = `{"created":%d,"updated":%d,"path":"%s","data":%s}` + "\n"
	const day = 86400 * 1_000_000_000
	const newYear = 1767225600 * 1_000_000_000
	c.input(fmt.Sprintf(line, newYear, 0, "days/a", `{"n":1}`)+
		fmt.Sprintf(line, newYear+day, 5, "days/b", `{"n":2}`)+
		fmt.Sprintf(line, newYear+2*day, 0, "days/c", `{"n":3}`)+
		fmt.Sprintf(line, newYear+3*day, 0, "other/deep/d", `"four"`), "import", "-", "--quiet").ok().prints("")
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{io.ErrUnexpectedEOF, exitFailure},
		{storage.ErrWritesStopped, exitFailure},
		{usage(io.EOF), exitUsage},
		{fmt.Errorf("get: %w", storage.ErrNotFound), exitNotFound},
		{fmt.Errorf("get: %w", storage.ErrInvalidPath), exitUsage},
		{fmt.Errorf("push: %w", storage.ErrGlobRequired), exitUsage},
		{fmt.Errorf("read: %w", context.Canceled), exitInterrupted},
		{fmt.Errorf("import: %w", &codeError{exitRefused, io.EOF}), exitRefused},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("exitCode(%v) = %d, want %d", test.err, got, test.want)
		}
	}
	for _, code := range []int{exitOK, exitFailure, exitUsage, exitRefused, exitNotFound, exitDamaged, exitInterrupted} {
		if !strings.Contains("\n"+exitCodesHelp, fmt.Sprintf("\n  %-4d ", code)) {
			t.Errorf("exit code %d is not documented", code)
		}
	}
}

func TestCommandLine(t *testing.T) {
	c := newCLI(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"impotr"}, `unknown command "impotr"; did you mean import?`},
		{[]string{"rm", "a"}, `unknown command "rm"; did you mean del`},
		{[]string{"delete", "a"}, `did you mean del`},
		{[]string{"cat", "a"}, `did you mean get`},
		{[]string{"put", "a", "1"}, `set`},
		{[]string{"rm", "a"}, `unknown command "rm"; did you mean del`},
		{[]string{"delete", "a"}, `did you mean del`},
		{[]string{"cat", "a"}, `did you mean get`},
		{[]string{"put", "a", "1"}, `did you mean`},
		{[]string{"--nope"}, `unknown flag --nope; see "oolith --help"`},
		{[]string{"get", "--nope", "x"}, `unknown flag --nope; see "oolith get --help"`},
		{[]string{"get"}, "get: 0 arguments given, expected oolith get PATH"},
		{[]string{"info", "a", "b"}, "info: 2 arguments given"},
		{[]string{"list", "a/*", "--limit", "x"}, `--limit "x": expected a whole number`},
		{[]string{"help", "impotr"}, `unknown help topic "impotr"; see "oolith help"`},
		{[]string{"help", "get", "x"}, `unknown help topic "get x"`},
		{[]string{"version", "x"}, "version: 1 argument given"},
		{[]string{"get", "a", "--store", "nope:x"}, `store "nope:x": invalid store URL, unknown scheme "nope"`},
		{[]string{"get", "a", "--store", "pebble:"}, "expected pebble:DIRECTORY"},
		{[]string{"set", "a", "1", "--store", "x"}, "nothing is there, and a new store needs the name of its engine"},
	} {
		c.run(test.args...).is(exitUsage, test.want).prints("")
	}
}

func TestHelp(t *testing.T) {
	c := newCLI(t)
	c.run().ok().contains("import", "export", "get", "set", "push", "del", "list", "keys", "info", "copy", "check", "compact", "version", "--store URL", "OOLITH_STORE", "  memory:\n  pebble:DIRECTORY\n")
	c.run("help", "exit-codes").ok().contains(exitCodesHelp)
	c.run("help", "paths").ok().contains("S_C3_A3o_20Paulo", "user__1")
	c.run("import", "--help").ok().contains("--as TEMPLATE", "exit code")
	c.run("help").ok().contains("import", "--store URL")
	c.run("help", "get").ok().contains("oolith get PATH")
	c.run("__complete", "help", "ex").contains("exit-codes\t", "export\t")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		c.run("completion", shell).ok().contains("oolith")
	}
}

// TestReadingMakesNoStore shows that only commands that write make a store.
func TestReadingMakesNoStore(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	reading := [][]string{
		{"get", "a"}, {"list", "*"}, {"keys"}, {"info"}, {"export"}, {"del", "a"}, {"del", "*", "--yes"}, {"check"}, {"compact"},
		{"check", c.store}, {"copy", "--from", c.store, "--to", c.store + "/target"},
	}
	for _, args := range reading {
		c.run(args...).is(exitFailure, "there is no store yet; import, copy, set or push creates one").prints("")
		if _, err := os.Stat(c.directory()); !os.IsNotExist(err) {
			t.Fatalf("oolith %s left something at the store's place: %v", args[0], err)
		}
	}
	if err := os.Mkdir(c.directory(), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range reading {
		c.run(args...).is(exitFailure, "there is no store yet")
		if entries, err := os.ReadDir(c.directory()); err != nil || len(entries) != 0 {
			t.Fatalf("oolith %s left %v in an empty directory, %v", args[0], entries, err)
		}
	}
}

func TestStoreThatIsNone(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	file := c.file("plain.txt", "text")
	foreign := filepath.Dir(file)
	for _, args := range [][]string{{"get", "a"}, {"list", "*"}, {"keys"}, {"info"}, {"export"}, {"set", "a", "1"}, {"push", "*", "1"}, {"del", "a"}, {"check"}, {"compact"}} {
		c.run(append(args, "--store", "pebble:"+file)...).is(exitFailure, file+" is a file, expected a directory")
		c.run(append(args, "--store", "pebble:"+foreign)...).is(exitFailure, "this is no store of this kind")
	}
}

// TestMemoryStore shows that a trial run leaves nothing.
func TestMemoryStore(t *testing.T) {
	c := newCLI(t)
	c.store = "memory:"
	c.input(`{"id":1}`, "import", "-", "--as", "x/{id}").ok().contains("stored 1 record in ", " in memory:, refused 0")
	c.run("set", "a", "1").ok().prints("a\n")
	c.run("get", "a").is(exitNotFound, `get "a"`)
	c.run("export", "a").is(exitNotFound, `get "a"`)
	c.run("keys").ok().prints("")
	c.run("export").ok().prints("")
	c.run("list", "*").ok().prints("")
	c.run("info", "--json").ok().contains(`"objects":0`)
	for _, args := range [][]string{{"check"}, {"compact"}, {"copy", "--from", "memory:", "--to", "pebble:x"}, {"check", "memory:"}} {
		c.run(args...).is(exitUsage, "store memory:: it is not durable, expected a durable store").prints("")
	}
}

// TestStoreArgument shows that check and compact take their store as an argument too.
func TestStoreArgument(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.run("set", "a", "1").ok()
	store := c.store
	c.store = "pebble:/nowhere"
	c.run("check", store).ok().contains(store + ": 1 object, no problems")
	c.run("compact", store).ok().contains(store + ": ")
	c.run("check", store, "--store", store).is(exitUsage, "check: both --store")
	c.run("compact", store, "--store", store).is(exitUsage, "compact: both --store")
}

// TestStoreFlagWinsOverVariable shows that --store is preferred to the environment.
func TestStoreFlagWinsOverVariable(t *testing.T) {
	c := newCLI(t)
	other := "pebble:" + filepath.Join(t.TempDir(), "other")
	c.run("set", "a", "1").ok()
	c.run("set", "a", "2", "--store", other).ok()
	c.run("get", "a").ok().prints("1\n")
	c.run("--store", other, "get", "a").ok().prints("2\n")
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestOutputThatFails shows that output that is lost is an error.
func TestOutputThatFails(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.days()
	for _, args := range [][]string{{"version"}, {"get", "days/a"}, {"list", "*/*"}, {"keys"}, {"info"}, {"export"}, {"help"}} {
		var errs bytes.Buffer
		code := run(t.Context(), args, c.stdin, brokenWriter{}, &errs, c.env)
		if code != exitFailure || !strings.Contains(errs.String(), "standard output: the connection is closed") {
			t.Errorf("oolith %s: exit code %d, %q, want %d and the error of the output", args[0], code, errs.String(), exitFailure)
		}
	}
}
