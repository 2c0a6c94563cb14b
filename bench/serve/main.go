// Command serve measures the server against a bare net/http handler, an embedded NATS server with its key-value store
// over WebSocket, and an embedded etcd, in one run, and prints the table of docs/performance.md.
//
//	go run ./serve              10,000 connections, some minutes
//	go run ./serve -quick       does it run at all
//	go run ./serve -only idle   the rows whose name matches a regular expression
//	go run ./serve -peers=false without NATS and etcd
//
// Each server has its own process, and therefore its own memory; the clients share the processors with it. When two
// servers are compared by speed, they take turns, and medians count. The data is on disk and synced if a row says
// durable, and otherwise in memory. NATS' key-value store is always on disk, and not synced unless a row says
// durable; etcd always syncs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// config is the size of a run.
type config struct {
	conns  int           // idle connections, and those that reconnect
	fans   int           // subscribers of one list
	rounds int           // of each contest
	round  time.Duration // of one side of a round
	peers  bool
	dir    string
}

// result is one row of the table. Figures are texts; empty if there is nothing to compare.
type result struct {
	name                   string
	ours, bare, nats, etcd string
	goal                   string
	met                    bool
}

// contest makes some rows.
type contest struct {
	name string
	run  func(config) ([]result, error)
}

var contests = []contest{
	{"idle", idle},
	{"fan-out", fanOut},
	{"stuck", stuck},
	{"requests", requests},
	{"delivery", delivery},
	{"reconnect", reconnect},
}

func main() {
	if kind := os.Getenv(hostKind); kind != "" {
		if err := serveHost(kind, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, kind+":", err)
			os.Exit(1)
		}
		return
	}
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "serve:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, out, progress io.Writer) (err error) {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(progress)
	conns := flags.Int("conns", 10_000, "idle connections, and those that come back at once")
	quick := flags.Bool("quick", false, "500 connections, 3 rounds of 200ms: the figures mean little")
	only := flags.String("only", "", "regular expression: the rows of "+names()+" that it matches")
	peers := flags.Bool("peers", true, "measure NATS and etcd too")
	dir := flags.String("dir", "", "where to put the stores on disk; the system's temporary directory when empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c := config{conns: *conns, fans: 1000, rounds: 9, round: time.Second, peers: *peers}
	if *quick {
		c.conns, c.fans, c.rounds, c.round = 500, 100, 3, 200*time.Millisecond
	}
	if c.conns < 1 || c.conns > 25_000 {
		return fmt.Errorf("-conns %d: expected 1 to 25000, as one address has no more ports", c.conns)
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only %q: expected a regular expression: %w", *only, err)
	}
	if c.dir, err = os.MkdirTemp(*dir, "oolith-serve-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	fmt.Fprintf(progress, "%s, GOMAXPROCS %d\n", runtime.Version(), runtime.GOMAXPROCS(0))
	fmt.Fprintln(out, "| what | Oolith | bare net/http | NATS | etcd | goal | met |\n|---|--:|--:|--:|--:|---|---|")
	for _, one := range contests {
		if !wanted.MatchString(one.name) {
			continue
		}
		results, err := one.run(c)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		for _, r := range results {
			met := ""
			if r.goal != "" {
				if met = "NO"; r.met {
					met = "yes"
				}
			}
			fmt.Fprintln(out, "| "+strings.Join([]string{r.name, r.ours, r.bare, r.nats, r.etcd, r.goal, met}, " | ")+" |")
		}
	}
	return nil
}

func names() string {
	var all []string
	for _, one := range contests {
		all = append(all, one.name)
	}
	return strings.Join(all, ", ")
}
