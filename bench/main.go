// Command bench measures the store against the plain components that it is made of, in one run, and prints the ratios
// with the goals of the project.
//
//	go run .            a million objects, some minutes
//	go run . -quick     fewer objects and shorter rounds: does it run at all
//	go run . -only Get  the sections whose name matches a regular expression
//	go run . -json      one JSON object a line
//
// README.md explains each row.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"time"
)

// config is the size of a run.
type config struct {
	objects int           // in a store
	rounds  int           // of each contest
	round   time.Duration // of one side of a contest, roughly
	cpu     bool          // count processor time where one goroutine is measured
	dir     string        // for the stores on disk
}

// section is one topic. It creates what it needs and drops it before it returns.
type section struct {
	name string
	run  func(config) ([]row, error)
}

var sections = []section{
	{"Get", getRows},
	{"GetN", listRows},
	{"Set", setRows},
	{"memory", memoryRows},
	{"durable", durableRows},
	{"start", startRows},
	{"watcher", watcherRows},
	{"reference", referenceRows},
	{"peers", peerRows},
	{"gigabytes", gigabyteRows},
}

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if err != flag.ErrHelp {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(progress)
	objects := flags.Int("objects", 1_000_000, "objects in a store, at least 2000")
	rounds := flags.Int("rounds", 15, "rounds of each contest, of which the median counts")
	round := flags.Duration("round", 100*time.Millisecond, "time of one side of a round, roughly")
	cpu := flags.Bool("cpu", false, "where one goroutine is measured, count the processor time of its thread (Linux):\nfor a machine that has other work to do")
	quick := flags.Bool("quick", false, "20000 objects, 3 rounds of 10ms: the figures mean little")
	only := flags.String("only", "", "regular expression: run the sections that it matches")
	asJSON := flags.Bool("json", false, "print JSON Lines")
	dir := flags.String("dir", "", "where to put the stores on disk; the system's temporary directory when empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c := config{objects: *objects, rounds: *rounds, round: *round, cpu: *cpu}
	if *quick {
		c.objects, c.rounds, c.round = 20_000, 3, 10*time.Millisecond
	}
	if c.objects < 2000 || c.rounds < 1 || c.round <= 0 {
		return fmt.Errorf("-objects %d -rounds %d -round %s: expected at least 2000, at least 1, more than 0",
			c.objects, c.rounds, c.round)
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only %q: expected a regular expression: %w", *only, err)
	}
	if c.dir, err = os.MkdirTemp(*dir, "oolith-bench-"); err != nil {
		return err
	}
	err = runSections(c, wanted, printer{out: out, json: *asJSON}, progress)
	if removed := os.RemoveAll(c.dir); err == nil {
		err = removed
	}
	return err
}

func runSections(c config, wanted *regexp.Regexp, p printer, progress io.Writer) error {
	fmt.Fprintf(progress, "%s, GOMAXPROCS %d, %d objects, %d rounds of %s, medians\n",
		runtime.Version(), runtime.GOMAXPROCS(0), c.objects, c.rounds, c.round)
	if err := p.header(); err != nil {
		return err
	}
	for _, s := range sections {
		if !wanted.MatchString(s.name) {
			continue
		}
		rows, err := s.run(c)
		if err != nil {
			return fmt.Errorf("section %s: %w", s.name, err)
		}
		for _, r := range rows {
			if err := p.row(r); err != nil {
				return err
			}
		}
		debug.FreeOSMemory() // the next section must not pay for this one
	}
	return nil
}

// printer writes rows for people or for programs.
type printer struct {
	out  io.Writer
	json bool
}

const tableFormat = "%-46s %12s %12s %8s  %-14s %s\n"

func (p printer) header() error {
	if p.json {
		return nil
	}
	_, err := fmt.Fprintf(p.out, tableFormat, "NAME", "OURS", "BASELINE", "RATIO", "GOAL", "MET")
	return err
}

func (p printer) row(r row) error {
	if p.json {
		return json.NewEncoder(p.out).Encode(r)
	}
	_, err := fmt.Fprintf(p.out, tableFormat, r.Name, figure(r.Ours, r.Unit), figure(r.Baseline, r.Unit),
		figure(r.Ratio, ""), r.Goal.String(), r.verdict())
	return err
}
