package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// fuzzTarget is a fuzz target of the project.
type fuzzTarget struct{ pkg, name string }

// fuzzRound lets one fuzz target run for half a minute; the rounds take turns. What makes a target fail
// is kept by the go command below testdata/fuzz, where the ordinary tests run it ever after.
func fuzzRound(ctx context.Context, c config, t *tally) error {
	targets, err := fuzzTargets(ctx)
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

// fuzzTargets lists the fuzz targets.
func fuzzTargets(ctx context.Context) (targets []fuzzTarget, err error) {
	cmd := exec.CommandContext(ctx, "go", "list", "./...")
	cmd.Dir = ".."
	packages, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	for pkg := range strings.FieldsSeq(string(packages)) {
		cmd := exec.CommandContext(ctx, "go", "test", "-list", "^Fuzz", pkg)
		cmd.Dir = ".."
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pkg, err)
		}
		for line := range strings.Lines(string(out)) {
			if name := strings.TrimSpace(line); strings.HasPrefix(name, "Fuzz") {
				targets = append(targets, fuzzTarget{pkg, name})
			}
		}
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("no fuzz targets found")
	}
	return targets, nil
}

var executed = regexp.MustCompile(`execs: (\d+)`)

// executions is the last count that the go command printed.
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
