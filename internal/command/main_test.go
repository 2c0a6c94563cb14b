package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// roleVariable makes the test binary something else than the tests: the program, or a copy that
// kills itself. So no test has to build anything, and a race detector watches the program too.
const (
	roleVariable = "OOLITH_TEST_ROLE"
	roleProgram  = "program"
	roleKilled   = "killed copy"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case roleProgram:
		Main()
	case roleKilled:
		killedCopy(os.Args[1], os.Args[2], len(os.Args) > 3)
	default:
		os.Exit(m.Run())
	}
}

// processes returns a function that makes commands of the test binary in a role, in a new
// directory. They are killed with the test.
func processes(t *testing.T, role string) func(args ...string) *exec.Cmd {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("signals and pipes are those of Unix")
	}
	directory := t.TempDir()
	return func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.WaitDelay = time.Second
		cmd.Dir = directory
		cmd.Env = append(os.Environ(), storeVariable+"=", roleVariable+"="+role)
		return cmd
	}
}

// exitStatus returns the exit code of a command, or fails.
func exitStatus(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return 0
}

// killedCopy copies until behind a number of objects the process is killed.
func killedCopy(from, to string, into bool) {
	c := &copier{app: &app{stderr: io.Discard, environment: environment{program: "oolith"}}, from: from, to: to, into: into, quiet: true}
	source, err := new(app).newLayer(from, changes)
	if err == nil {
		c.source = files{endingLayer{source, killedAt, func() error {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			if err == nil {
				select {} // until it arrives
			}
			return err
		}}, true}
		c.target, err = new(app).newLayer(to, creates)
	}
	if err == nil {
		err = c.copy(context.Background())
	}
	fmt.Fprintln(os.Stderr, "not killed:", err)
	os.Exit(1)
}

// killedAt is how many objects a killed copy has read: two batches of it are in the target.
const killedAt = 2*copyObjects + 500

// endingLayer is a layer whose scan of everything ends behind a number of objects, by a call or
// by its error.
type endingLayer struct {
	storage.EmbeddedLayer
	after int
	end   func() error
}

func (l endingLayer) Unwrap() storage.EmbeddedLayer { return l.EmbeddedLayer }

func (l endingLayer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		n := 0
		for obj, err := range storage.Scan(l.EmbeddedLayer, pattern) {
			if n == l.after && pattern == "" {
				if err := l.end(); err != nil {
					yield(meta.Object{}, err)
					return
				}
			}
			n++
			if !yield(obj, err) {
				return
			}
		}
	}
}

// manyObjects is a file of objects as export writes them: more than a copy puts in a batch.
func manyObjects(n int) string {
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"created":%d,"updated":%d,"path":"d%d/%05d","data":{"n":%d}}`+"\n", 1_700_000_000_000_000_000+i, i%3, i%7, i, i)
	}
	return lines.String()
}
