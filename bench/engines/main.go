// Command engines compares the persistent engines in one run, and prints the table of docs/engines.md.
//
//	go run ./engines             a million objects, some minutes
//	go run ./engines -quick      does it run at all
//
// Each engine is measured in its own process, and therefore with its own memory. In each round every engine has its
// turn before the next round begins; medians count.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// contender is an engine in the contest.
type contender struct {
	name string
	// place is the location part of its URL, below a directory.
	place string
	pkg   string // the Go package, for the size of a binary
}

var contenders = []contender{
	{"pebble", "store", "github.com/oolith-db/oolith/engine/pebble"},
	{"sqlite", "store.db", "github.com/oolith-db/oolith/engine/sqlite"},
	{"badger", "store", "github.com/oolith-db/oolith/engine/badger"},
	{"ko", "store", "github.com/oolith-db/oolith/engine/ko"},
}

func (c contender) url(dir, options string) string {
	return c.name + ":" + filepath.Join(dir, c.place) + options
}

// figures are the measurements of one process, by the name of the row.
type figures map[string]float64

// rows are the rows of the table, in their order.
var rows = []struct{ key, title, unit string }{
	{"durable 1", "durable sets a second, 1 writer", ""},
	{"durable 64", "durable sets a second, 64 writers", ""},
	{"relaxed 1", "relaxed (`sync=off`) sets a second, 1 writer", ""},
	{"relaxed 64", "relaxed sets a second, 64 writers", ""},
	{"load", "start with all objects, objects a second", ""},
	{"get", "point read without memory", "µs"},
	{"list", "list of 1,000 without memory", "µs"},
	{"disk", "on disk, bytes an object beyond path and data", "B"},
	{"rss open", "memory of a process that opened the store without memory layer", "MB"},
	{"rss load", "highest memory while all objects are loaded, beyond the objects", "MB"},
	{"binary", "size that it adds to a program", "MB"},
	{"modules", "modules that it brings along", ""},
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "engines:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("engines", flag.ContinueOnError)
	objects := flags.Int("objects", 1_000_000, "objects in a store, at least 2000")
	rounds := flags.Int("rounds", 3, "rounds, of which the median counts")
	round := flags.Duration("round", 2*time.Second, "time of one measurement of writes")
	quick := flags.Bool("quick", false, "5000 objects, 1 round of 200ms")
	dir := flags.String("dir", "", "where to put the stores; the system's temporary directory when empty")
	one := flags.String("one", "", "measure one phase of one engine, as phase:url, and print JSON (for the program's own use)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *quick {
		*objects, *rounds, *round = 5000, 1, 200*time.Millisecond
	}
	if *one != "" {
		phase, url, _ := strings.Cut(*one, ":")
		measured, err := measure(phase, url, *objects, *round)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(measured)
	}
	scratch, err := os.MkdirTemp(*dir, "oolith-engines-")
	if err != nil {
		return err
	}
	all, err := contest(scratch, *objects, *rounds, *round)
	if err = errors.Join(err, os.RemoveAll(scratch)); err != nil {
		return err
	}
	return table(out, all, *objects)
}

// contest measures all engines, round by round.
func contest(dir string, objects, rounds int, round time.Duration) (map[string]map[string][]float64, error) {
	all := make(map[string]map[string][]float64)
	take := func(c contender, measured figures) {
		if all[c.name] == nil {
			all[c.name] = make(map[string][]float64)
		}
		for key, value := range measured {
			all[c.name][key] = append(all[c.name][key], value)
		}
	}
	for _, c := range contenders {
		built, err := footprint(c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		take(c, built)
	}
	for n := range rounds {
		for _, c := range contenders {
			home := filepath.Join(dir, fmt.Sprintf("%s-%d", c.name, n))
			if err := os.Mkdir(home, 0o700); err != nil {
				return nil, err
			}
			for _, phase := range []string{"writes", "fill", "load", "open"} {
				measured, err := inProcess(phase, c.url(home, ""), objects, round)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", c.name, phase, err)
				}
				take(c, measured)
			}
			if err := os.RemoveAll(home); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// inProcess measures a phase in its own process.
func inProcess(phase, url string, objects int, round time.Duration) (measured figures, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-one", phase+":"+url, "-objects", fmt.Sprint(objects), "-round", round.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return measured, json.Unmarshal(out, &measured)
}

// table prints the medians as a table in Markdown.
func table(out io.Writer, all map[string]map[string][]float64, objects int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d processors, %d objects of 150 bytes\n\n| |", runtime.Version(), runtime.GOMAXPROCS(0), objects)
	for _, c := range contenders {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(contenders)) + "\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", strings.TrimSpace(row.title+" "+parenthesis(row.unit)))
		for _, c := range contenders {
			fmt.Fprintf(&b, " %s |", short(median(all[c.name][row.key])))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func parenthesis(unit string) string {
	if unit == "" {
		return ""
	}
	return "(" + unit + ")"
}

// short formats a number with about three digits, with commas.
func short(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.1f", v)
	case v < 1000:
		return fmt.Sprintf("%.0f", v)
	}
	text := fmt.Sprint(int(v))
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
