// Command proof tries to break the store within a time budget, and reports what it tried.
//
//	go run . all -budget 10m          every campaign, in equal shares of the time
//	go run . crash kill -budget 1h    some of them
//	go run . crash -seed 7 -rounds 1  one round again, as a failure says
//	go run . list                     what there is, and what each proves
//
// A campaign is a number of rounds, each with a seed that determines everything random in it. The first round that
// finds a violation ends the run with exit code 1, and its seed repeats it. The results are the table in
// docs/reliability.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// campaign is one way to try to break the store.
type campaign struct {
	name   string
	proves string
	// round runs one round. It adds its counts to the tally and returns the violation. If the context ends, it ends
	// early without an error.
	round func(ctx context.Context, c config, t *tally) error
}

// config is the configuration of a round.
type config struct {
	seed uint64
	rng  *rand.Rand // of the seed
	dir  string     // an empty directory of the round, removed after it
}

var campaigns = []campaign{
	{"crash", "acknowledged writes survive a power loss at every operation of the file system", crashRound},
	{"fsync", "a failed write or sync of the disk stops writes with the cause; reads continue and nothing is lost", fsyncRound},
	{"full", "a disk that is full after any number of bytes causes an error, and nothing is lost or torn", fullRound},
	{"bytes", "the same after every number of bytes that a few writes need", bytesRound},
	{"kill", "acknowledged writes survive kill -9 of the process, on every engine", killRound},
	{"linear", "every call takes effect at one instant between its start and its end", linearRound},
	{"watch", "subscriptions miss, repeat and reorder nothing, and begin with a consistent state", watchRound},
	{"stream", "clients of every protocol miss, repeat and reorder nothing across cuts, restarts and pauses", streamRound},
	{"retries", "a request with an Idempotency-Key that is sent until it is answered is made exactly once, across kill -9", retriesRound},
	{"overload", "slow event consumers block nobody and end with the state of the store", overloadRound},
	{"meta", "every engine and mode gives the same answers to the same calls, across restarts", metaRound},
	{"fuzz", "no input makes a parser panic or disagree with a simple reference", fuzzRound},
	{"mutate", "a deliberately broken store fails a test", mutateRound},
	{"soak", "memory, goroutines, files and latencies stay constant under hours of mixed load", soakRound},
}

// proveChild is the environment variable that makes this program the victim of the kill campaign.
const proveChild = "OOLITH_PROOF_CHILD"

func main() {
	if os.Getenv(proveChild) != "" {
		os.Exit(child(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "proof:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var names []string
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		names, args = append(names, args[0]), args[1:]
	}
	flags := flag.NewFlagSet("proof", flag.ContinueOnError)
	budget := flags.Duration("budget", time.Minute, "total time of all campaigns")
	rounds := flags.Int("rounds", 0, "maximum rounds of each campaign; 0 for as many as the budget allows")
	seed := flags.Uint64("seed", 0, "seed of the first round, incremented for each round; 0 draws one")
	dir := flags.String("dir", "", "directory of stores on disk; the system's temporary directory if empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if slices.Equal(names, []string{"list"}) {
		for _, c := range campaigns {
			fmt.Fprintf(out, "%-8s %s\n", c.name, c.proves)
		}
		return nil
	}
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	if *seed == 0 {
		*seed = rand.Uint64N(1 << 32)
	}
	for _, c := range chosen {
		if err := runCampaign(ctx, c, *budget/time.Duration(len(chosen)), *rounds, *seed, *dir, out); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func choose(names []string) ([]campaign, error) {
	if len(names) == 0 || slices.Contains(names, "all") {
		return campaigns, nil
	}
	var chosen []campaign
	for _, name := range names {
		at := slices.IndexFunc(campaigns, func(c campaign) bool { return c.name == name })
		if at < 0 {
			return nil, fmt.Errorf("unknown campaign %q, expected all, list or a campaign that list prints", name)
		}
		chosen = append(chosen, campaigns[at])
	}
	return chosen, nil
}

// runCampaign runs rounds until the budget or their number is used up, or the context ends.
func runCampaign(ctx context.Context, c campaign, budget time.Duration, rounds int, seed uint64, dir string, out io.Writer) error {
	began := time.Now()
	var t tally
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	n := 0
	for ; ctx.Err() == nil && (rounds == 0 || n < rounds); n++ {
		if err := runRound(ctx, c, seed+uint64(n), dir, &t); err != nil {
			return fmt.Errorf("%s: round %d: %w\nbefore it: %s\nto reproduce it: go run . %s -seed %d -rounds 1", c.name, n, err, t.String(), c.name, seed+uint64(n))
		}
	}
	fmt.Fprintf(out, "%-8s ok  %d rounds from seed %d, %s: %s\n", c.name, n, seed, time.Since(began).Round(time.Second), t.String())
	return nil
}

func runRound(ctx context.Context, c campaign, seed uint64, dir string, t *tally) (err error) {
	scratch, err := os.MkdirTemp(dir, "oolith-proof-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	return c.round(ctx, config{seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), dir: scratch}, t)
}
