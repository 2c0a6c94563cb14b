package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The mutation campaign breaks the store on purpose, in one way at a time, in a copy of the sources, and runs the
// tests: one of them must fail. A mutant that survives is a missing test.

// mutant is one deliberate fault. It is identified by the function and the Go code in it, not by lines of text: the
// rest of the function, its formatting and its file do not matter.
type mutant struct {
	name string
	in   string // the directory of the package and the function: "storage run.settle" for a method
	// old is an expression, or consecutive statements. It occurs exactly once in the function.
	old string
	new string // replaces old; empty removes statements
	// tests are the packages that must detect it, "./storage ./storagetest" if empty.
	tests string
}

// mutateRound tries the mutant that the seed selects, or all of them in turn.
func mutateRound(ctx context.Context, c config, t *tally) error {
	m := mutants[int(c.seed)%len(mutants)]
	root, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	copied := filepath.Join(c.dir, "oolith")
	if err := copySources(root, copied); err != nil {
		return err
	}
	file, content, err := m.apply(copied)
	if err == nil {
		err = os.WriteFile(file, content, 0o600)
	}
	if err != nil {
		return err
	}
	killer, err := m.run(ctx, copied)
	if ctx.Err() != nil || err != nil {
		return err
	}
	if killer == "" {
		return fmt.Errorf("the mutant %q in %s lives: no test fails", m.name, m.in)
	}
	fmt.Fprintf(os.Stderr, "mutate: %-50s caught by %s\n", m.name, killer)
	t.add("mutants caught", 1)
	return nil
}

// copySources copies the Go files and the files that they need.
func copySources(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", ".ci", "proof", "bench", "tools", "oolith-data"}, rel) {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), content, 0o600)
	})
}

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// run runs the tests and returns the failing one, or how the run failed.
func (m mutant) run(ctx context.Context, root string) (killer string, err error) {
	tests := m.tests
	if tests == "" {
		tests = "./internal/pathtree ./storage ./storagetest"
	}
	for pkg := range strings.FieldsSeq(tests) {
		run, cancel := context.WithTimeout(ctx, 10*time.Minute)
		cmd := exec.CommandContext(run, "go", "test", "-failfast", "-timeout", "8m", pkg)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		cancel()
		var exit *exec.ExitError
		switch {
		case err == nil:
			continue
		case !errors.As(err, &exit):
			return "", err
		case strings.Contains(string(out), "[build failed]"):
			return "", fmt.Errorf("mutant %q does not compile: %s", m.name, out)
		}
		if found := failedTest.FindAllStringSubmatch(string(out), -1); len(found) > 0 {
			return found[len(found)-1][1], nil
		}
		if strings.Contains(string(out), "test timed out") {
			return pkg + " (no end)", nil
		}
		return pkg + " (crash)", nil
	}
	return "", nil
}
