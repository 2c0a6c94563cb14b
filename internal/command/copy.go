package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func (a *app) copyCommand() *cobra.Command {
	c := &copier{app: a}
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy a whole store into another, of the same engine or not",
		Long: `Copy all objects of the store FROM into a new one, TO, both given by URL: paths, times, data and revisions. Revisions go on
above those of the source. Both are durable stores that nobody else has open. Memory is bounded.

When all is written, the target is opened anew, read back and compared with the source, by count
and by a checksum over everything that is copied.

A shared engine such as etcd: makes the order of its changes itself, so that a copy into one gets new revisions, and every node that
has the target open sees it grow.

One of both may be a server, http://HOST:PORT. From a server it is read page by page, and is no snapshot of one instant: what is
there all the time is copied once. Into a server each write is durable once it is acknowledged, so that nothing is read
back; its objects get new revisions, and a token needs the verb admin, since they keep their times. What was written
stays there when such a copy is stopped: run it again with --into.

While a copy is under way its target is marked as incomplete: if it is stopped, by Ctrl-C, kill or
a power cut, every later command on the target fails and says which copy to run again. That
clears the target first.

A target that holds objects is refused, unless --into is given. That merges: objects of the source
take the place of those at the same paths, with their times and data, and get new revisions; those that
have expired are left out. A merge that is stopped has to be run again too, and clears nothing. --if-exists skip
leaves the objects of the target as they are; fail merges nothing when one is at a path of the source and differs.

--only copies the objects that match a pattern.`,
		Example: `  oolith copy pebble:./oolith-data ko:./other-data
  oolith copy pebble:./yesterday pebble:./oolith-data --into --if-exists skip
  oolith copy ./oolith-data sqlite:./cities.db --only 'cities/**'`,
		Args:              arguments(0, 2),
		ValidArgsFunction: completeStores,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("store") {
				return usage(errors.New("copy: --store has no effect here, expected two URLs, as in copy FROM TO"))
			}
			for _, url := range args { // what no flag names, from left to right
				switch "" {
				case c.from:
					c.from = url
				case c.to:
					c.to = url
				default:
					return usage(fmt.Errorf("copy: %s is one URL too many, expected two, as in copy FROM TO", url))
				}
			}
			if c.from == "" || c.to == "" {
				return usage(errors.New("copy: expected the URLs of two stores, as in copy FROM TO"))
			}
			if c.ifExists != replaceExisting && !c.into {
				return usage(errors.New("copy: --if-exists needs --into, since a new store is empty"))
			}
			if err := checkOnly(cmd, c.only); err != nil {
				return err
			}
			return c.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&c.from, "from", "", "the `URL` of the store to copy, in place of FROM")
	cmd.Flags().StringVar(&c.to, "to", "", "the `URL` of the store to make, in place of TO")
	cmd.Flags().BoolVar(&c.into, "into", false, "merge into a store that holds objects")
	cmd.Flags().StringVar(&c.only, "only", "", "only objects whose path matches this `PATTERN`")
	addIfExists(cmd, &c.ifExists)
	complete(cmd, "from", completeStores)
	complete(cmd, "to", completeStores)
	cmd.Flags().BoolVarP(&c.quiet, "quiet", "q", false, "no progress and no summary: errors only")
	return cmd
}

// copier is one copy of a store.
type copier struct {
	*app
	from, to    string
	into, quiet bool
	only        string // a pattern; empty for all
	ifExists    ifExists
	base        uint64 // the revision of the target before a merge: what it stores has a higher one

	// source is open during the copy. target is opened by the two ways to fill it; nil for a server.
	source        scanner
	target        storage.EmbeddedLayer
	started       time.Time
	done, expired atomic.Int64 // objects
	skipped       atomic.Int64
}

// run opens the source first, so that a wrong one makes no target.
func (c *copier) run(ctx context.Context) error {
	var source storage.EmbeddedLayer
	var err error
	if !isServer(c.from) {
		if source, err = c.durableLayer(c.from, reads); err != nil {
			return err
		}
	}
	if !isServer(c.to) {
		if c.target, err = c.durableLayer(c.to, creates); err != nil {
			return err
		}
	}
	if strings.TrimRight(c.from, "/") == strings.TrimRight(c.to, "/") || samePlace(location(c.from), location(c.to)) {
		return usage(fmt.Errorf("copy: %s and %s are the same store, expected two", c.from, c.to))
	}
	c.source = files{source, true}
	if isServer(c.from) {
		from, err := c.connect(c.from)
		if err != nil {
			return err
		}
		c.source = pages{from, ctx}
	}
	return c.copy(ctx)
}

// copy copies between stores of which none is open yet.
func (c *copier) copy(ctx context.Context) error {
	c.started = time.Now()
	if local, ok := c.source.(files); ok {
		if err := local.layer.Start(storage.LayerOptions{}); err != nil {
			return notOpened(c.from, err)
		}
		c.tellSkipped(c.from, local.layer)
	}
	defer c.source.close()
	fill := c.fill
	switch {
	case c.target == nil:
		fill = c.send
	case c.into:
		fill = c.merge
	}
	checksum, err := fill(ctx)
	if err != nil {
		return err
	}
	return c.finish(checksum)
}

// samePlace reports whether two names are of one file or directory.
func samePlace(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// What the arguments of a copy begin with, and no other reason of an incomplete store does.
const (
	copyFrom = "copy --from "
	copyInto = "copy --into --from "
)

// arguments are those of the copy as a user can repeat it, from any directory.
func (c *copier) arguments() string {
	verb := copyFrom
	if c.into {
		verb = copyInto
	}
	line := verb + shellQuote(absolute(c.from)) + " --to " + shellQuote(absolute(c.to))
	if c.only != "" {
		line += " --only " + shellQuote(c.only)
	}
	if c.ifExists != replaceExisting {
		line += " --if-exists " + c.ifExists.String()
	}
	return line
}

// absolute returns the URL of a store, without its options, for any working directory.
func absolute(storeURL string) string {
	if found, err := resolve(storeURL); err == nil {
		storeURL = found
	}
	scheme, _, _ := strings.Cut(storeURL, ":")
	if engine.IsRemote(storeURL, engines...) {
		name, _, _ := strings.Cut(storeURL, "?")
		return name
	}
	place, err := filepath.Abs(location(storeURL))
	if err != nil {
		place = location(storeURL)
	}
	return engine.URL(scheme, place)
}

// isIncompleteBy reports whether an error is that of a store in which a copy was cut off whose
// arguments begin in some way. An engine may write the white space in its own way.
func isIncompleteBy(err error, arguments string) bool {
	words := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	return errors.Is(err, storage.ErrIncomplete) && strings.Contains(words(err.Error())+" ", " "+words(arguments)+" ")
}

// mark notes on the target what is under way: whoever opens it from now on is told to run it
// again.
func (c *copier) mark() error { return c.note(c.program + " " + c.arguments()) }

// unmark takes the note away.
func (c *copier) unmark() error { return c.note("") }

func (c *copier) note(reason string) error {
	marker, ok := storage.As[storage.IncompleteMarker](c.target)
	if !ok {
		return nil
	}
	return marker.MarkIncomplete(reason)
}

// stopped makes the error of a copy that did not come to its end.
func (c *copier) stopped(err error) error {
	state := c.to + " is incomplete, run the copy again"
	if c.target == nil {
		state = c.to + " holds part of the objects, run the copy again with --into"
	} else if _, ok := storage.As[storage.IncompleteMarker](c.target); !ok && !c.into {
		state = c.to + " holds part of the objects and its engine cannot mark that; empty it and run the copy again"
	}
	if errors.Is(err, context.Canceled) {
		return &codeError{exitInterrupted, fmt.Errorf("copy: interrupted after %s; %s", plural(c.done.Load(), "object"), state)}
	}
	return fmt.Errorf("copy: %w; %s", err, state)
}

// progress tells how a part of the copy goes.
func (c *copier) progress(verb string, size int64) *progress {
	c.done.Store(0)
	return startProgress(c.stderr, c.err, c.quiet, work{name: c.to, verb: verb, size: size, objects: true}, func() progressState {
		n := c.done.Load()
		return progressState{read: n, stored: n}
	})
}

// objects yields all objects of the source, and ends with the context.
func (c *copier) objects(ctx context.Context) func(yield func(meta.Object, error) bool) {
	return func(yield func(meta.Object, error) bool) {
		for obj, err := range c.source.scan(c.only) {
			if err != nil {
				err = fmt.Errorf("store %s: %w", c.from, err)
			} else {
				err = ctx.Err()
			}
			if !yield(obj, err) || err != nil {
				return
			}
		}
	}
}

// copySummary is what copy --json writes.
type copySummary struct {
	Copied   int64   `json:"copied"`
	Expired  int64   `json:"expired,omitempty"`
	Skipped  int64   `json:"skipped,omitempty"`
	Checksum string  `json:"checksum"`
	Seconds  float64 `json:"seconds"`
}

func (c *copier) finish(checksum digest) error {
	took, expired := time.Since(c.started), c.expired.Load()
	switch {
	case c.quiet:
		return nil
	case c.json:
		return writeJSON(c.stdout, copySummary{checksum.count, expired, c.skipped.Load(), checksum.String(), took.Seconds()})
	}
	verb := "copied"
	if c.into {
		verb = "merged"
	}
	proof := "read back and compared: "
	if c.target == nil {
		proof = "acknowledged: "
	}
	left := ""
	if expired > 0 {
		left = fmt.Sprintf(", skipped %s that have expired", thousands(expired))
	}
	if skipped := c.skipped.Load(); skipped > 0 {
		left += fmt.Sprintf(", skipped %s that exist already", thousands(skipped))
	}
	_, err := fmt.Fprintf(c.stdout, "%s %s from %s into %s in %s%s\n%s%s, checksum %s\n", verb,
		plural(checksum.count, "object"), c.from, c.to, took.Round(time.Millisecond), left, proof, plural(checksum.count, "object"), checksum)
	return err
}
