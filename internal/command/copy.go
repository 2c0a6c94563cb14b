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
		Short: "Copy a whole store into another one, of any engine",
		Long: `Copy all objects of the store FROM into a new store TO, both given by URL: paths, times, data
and revisions. The revisions of TO continue above those of FROM. Both are durable stores that no
other process has open. Memory use is bounded.

After writing, copy reopens the target, reads it back and compares it with the source, by count
and by a checksum over everything it copied.

An interrupted copy is always detected. While a copy is in progress, its target is marked as
incomplete. If the copy is stopped, by Ctrl-C, kill or a power failure, every later command on
the target fails and names the copy to run again. That copy clears the target first.

A target that holds objects is rejected, unless --into is given. --into merges: objects of the
source replace those at the same paths, with their times and data, and get new revisions;
expired objects are skipped. An interrupted merge must also be run again, and clears nothing.
With --if-exists skip, objects of the target are kept. With --if-exists fail, nothing is merged
if the target has a different object at a path of the source.

One of the two stores may be a server, http://HOST:PORT. A copy from a server reads it page by
page, so it is not one snapshot: objects that exist throughout are copied once. A copy into a
server needs a token with the verb admin, because it keeps the times. Each acknowledged write is
durable, nothing is read back, and the objects get new revisions. An interrupted copy into a
server leaves the objects copied so far: run it again with --into.

A shared engine such as etcd: orders its changes itself. A copy into one assigns new revisions,
and every node that has the target open sees it grow.

--only copies only the objects that match a pattern.`,
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
	cmd.Flags().StringVar(&c.from, "from", "", "the `URL` of the store to copy, instead of FROM")
	cmd.Flags().StringVar(&c.to, "to", "", "the `URL` of the store to create, instead of TO")
	cmd.Flags().BoolVar(&c.into, "into", false, "merge into a store that already has objects")
	cmd.Flags().StringVar(&c.only, "only", "", "only objects whose path matches this `PATTERN`")
	addIfExists(cmd, &c.ifExists)
	complete(cmd, "from", completeStores)
	complete(cmd, "to", completeStores)
	cmd.Flags().BoolVarP(&c.quiet, "quiet", "q", false, "show only errors, no progress and no summary")
	return cmd
}

// copier is one copy of a store.
type copier struct {
	*app
	from, to    string
	into, quiet bool
	only        string // empty for all objects
	ifExists    ifExists
	base        uint64 // the revision of the target before a merge: what it stores has a higher one

	// source is open during the copy. Both ways to fill target open it; it is nil for a server.
	source        scanner
	target        storage.EmbeddedLayer
	started       time.Time
	done, expired atomic.Int64 // objects
	skipped       atomic.Int64
}

// run opens the source first, so a wrong source creates no target.
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

// copy copies between stores that are not open yet.
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

// samePlace reports whether two names refer to the same file or directory.
func samePlace(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// The beginning of the arguments of a copy, which no other reason for an incomplete store has.
const (
	copyFrom = "copy --from "
	copyInto = "copy --into --from "
)

// arguments are the arguments of the copy, repeatable from any directory.
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

// absolute returns the URL of a store, without options, for any working directory.
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

// isIncompleteBy reports whether an error is about an interrupted copy whose arguments begin with the given text. An
// engine may change the white space.
func isIncompleteBy(err error, arguments string) bool {
	words := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	return errors.Is(err, storage.ErrIncomplete) && strings.Contains(words(err.Error())+" ", " "+words(arguments)+" ")
}

// mark marks the target as incomplete. Whoever opens it is told which copy to run again.
func (c *copier) mark() error { return c.note(c.program + " " + c.arguments()) }

// unmark removes the mark.
func (c *copier) unmark() error { return c.note("") }

func (c *copier) note(reason string) error {
	marker, ok := storage.As[storage.IncompleteMarker](c.target)
	if !ok {
		return nil
	}
	return marker.MarkIncomplete(reason)
}

// stopped is the error of an interrupted copy.
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

// progress reports the progress of a part of the copy.
func (c *copier) progress(verb string, size int64) *progress {
	c.done.Store(0)
	return startProgress(c.stderr, c.err, c.quiet, work{name: c.to, verb: verb, size: size, objects: true}, func() progressState {
		n := c.done.Load()
		return progressState{read: n, stored: n}
	})
}

// objects yields all objects of the source until the context ends.
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
