package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// fuzzTarget is a fuzz target of the project.
type fuzzTarget struct{ pkg, name string }

// fuzzRound runs one fuzz target for half a minute; the rounds take turns. The go command keeps failing inputs below
// testdata/fuzz, where the ordinary tests run them from then on.
func fuzzRound(ctx context.Context, c config, t *tally) error {
	targets, err := fuzzTargets("..")
	if err != nil {
		return err
	}
	target := targets[int(c.seed)%len(targets)]
	length := 30 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		length = min(length, time.Until(deadline)-5*time.Second)
	}
	if length < time.Second {
		<-ctx.Done()
		return nil
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-fuzz", "^"+target.name+"$", "-fuzztime", length.String(), target.pkg)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", target.pkg, target.name, err, out)
	}
	t.add("turns of "+target.name, 1)
	t.add("executions", executions(string(out)))
	return nil
}

var fuzzFunction = regexp.MustCompile(`(?m)^func (Fuzz\w*)\(`)

// fuzzTargets finds the fuzz targets in the sources: asking the go command would link every test.
func fuzzTargets(root string) (targets []fuzzTarget, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, found := range fuzzFunction.FindAllSubmatch(source, -1) {
			targets = append(targets, fuzzTarget{"./" + filepath.ToSlash(dir), string(found[1])})
		}
		return nil
	})
	if err == nil && len(targets) == 0 {
		err = fmt.Errorf("no fuzz targets below %s", root)
	}
	return targets, err
}

var executed = regexp.MustCompile(`execs: (\d+)`)

// executions returns the last count that the go command printed.
func executions(out string) int {
	found := executed.FindAllStringSubmatch(out, -1)
	if len(found) == 0 {
		return 0
	}
	n, err := strconv.Atoi(found[len(found)-1][1])
	if err != nil {
		return 0
	}
	return n
}
