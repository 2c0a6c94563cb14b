package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [URL]",
		Short: "Check a whole store for problems",
		Long: `Read the whole store, given by URL or --store, and report each problem on a line: objects that
cannot be decoded or are not UTF-8, problems that the engine finds in its own files, an
interrupted copy. Then compare the list of keys with the objects, in number and order, which
takes memory for all keys.

check changes nothing and continues after a problem. With --json, each problem is a line
{"problem":"..."}, and the last line is the summary. The exit code is 5 if there are problems,
and 1 if the store cannot be opened.`,
		Example:           "  oolith check pebble:./oolith-data",
		Args:              arguments(0, 1),
		ValidArgsFunction: completeStores,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.storeArgument(cmd, args); err != nil {
				return err
			}
			layer, err := a.durableLayer(a.storeURL, reads)
			if err != nil {
				return err
			}
			return a.check(cmd.Context(), layer)
		},
	}
}

// checkSummary is the last line of check --json.
type checkSummary struct {
	Store    string  `json:"store"`
	Objects  int     `json:"objects"`
	Problems int     `json:"problems"`
	Seconds  float64 `json:"seconds"`
}

// checker is one check of a layer.
type checker struct {
	*app
	layer    storage.EmbeddedLayer
	objects  int // intact ones
	problems int
	err      error // of the output
}

// check checks a layer that is not started.
func (a *app) check(ctx context.Context, layer storage.EmbeddedLayer) error {
	c := &checker{app: a, layer: layer}
	started := time.Now()
	err := c.open()
	if err == nil {
		err = c.all(ctx)
		layer.Close()
	}
	switch {
	case c.err != nil:
		return c.err
	case errors.Is(err, context.Canceled):
		return &codeError{exitInterrupted, fmt.Errorf("check: interrupted after %s", plural(int64(c.objects), "object"))}
	case err != nil:
		return notOpened(a.storeURL, err)
	}
	return c.finish(time.Since(started))
}

// open starts the layer. An incomplete layer is a problem, but is checked too.
func (c *checker) open() error {
	err := c.layer.Start(storage.LayerOptions{})
	if errors.Is(err, storage.ErrIncomplete) {
		c.report(err)
		err = c.layer.Start(storage.LayerOptions{AllowIncomplete: true})
	}
	return err
}

// report prints a problem.
func (c *checker) report(problem error) {
	c.problems++
	var err error
	if c.json {
		err = writeJSON(c.stdout, map[string]string{"problem": problem.Error()})
	} else {
		_, err = fmt.Fprintln(c.stdout, oneLine(problem))
	}
	if err == nil {
		err = c.stdout.Flush() // show each problem as soon as it is found
	}
	if c.err == nil {
		c.err = err
	}
}

// all reads the objects with the engine's own check or with a scan, and compares the keys.
func (c *checker) all(ctx context.Context) (err error) {
	before := c.problems
	if own, ok := storage.As[storage.Checker](c.layer); ok {
		c.objects, err = own.Check(ctx, c.report)
	} else {
		err = c.scan(ctx, func(meta.Object) { c.objects++ })
	}
	if err != nil || c.problems > before {
		return err // keys and objects of a damaged store differ for a reason that is reported already
	}
	return c.compare(ctx)
}

// scan visits all objects. An error that stops it is a problem.
func (c *checker) scan(ctx context.Context, visit func(meta.Object)) error {
	for obj, err := range storage.Scan(c.layer, "") {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.report(err)
			return nil
		}
		visit(obj)
	}
	return nil
}

// compare compares the keys with a scan, in number and order.
func (c *checker) compare(ctx context.Context) error {
	keys, err := c.layer.Keys()
	if err != nil {
		c.report(fmt.Errorf("keys: %w", err))
		return nil
	}
	// The keys that the scan has passed, to name a key that it lacks.
	passed := make(map[string]bool, len(keys))
	for i, path := range keys {
		if i > 0 && keys[i-1] >= path {
			c.report(fmt.Errorf("keys: %q comes after %q, expected byte order", path, keys[i-1]))
		}
		passed[path] = false
	}
	last, scanned, unsound := "", 0, 0
	err = c.scan(ctx, func(obj meta.Object) {
		if seen, known := passed[obj.Path]; !known {
			c.report(fmt.Errorf("scan: %q is not among the keys", obj.Path))
		} else if seen {
			c.report(fmt.Errorf("scan: %q occurs twice", obj.Path))
		}
		passed[obj.Path] = true
		if at := jsonvalid.NotUTF8(obj.Data); at >= 0 {
			c.report(fmt.Errorf("key %q: its data is not UTF-8, byte 0x%02x at offset %d; exporting it produces invalid JSON, so set it again",
				obj.Path, obj.Data[at], at))
			c.objects--
			unsound++
		}
		if scanned > 0 && !inOrder(last, obj.Path) {
			c.report(fmt.Errorf("scan: %q comes after %q, expected the order of directory and name", obj.Path, last))
		}
		last = obj.Path
		scanned++
	})
	if err != nil {
		return err
	}
	for _, path := range keys {
		if !passed[path] {
			c.report(fmt.Errorf("keys: there is no object at %q", path))
		}
	}
	if counted := c.objects + unsound; scanned != counted || len(keys) != counted {
		c.report(fmt.Errorf("the check counts %s objects, the scan %s, the list of keys %s", thousands(int64(counted)), thousands(int64(scanned)), thousands(int64(len(keys)))))
	}
	return nil
}

// inOrder reports whether a scan may yield a path directly before another.
func inOrder(before, after string) bool {
	if c := strings.Compare(key.Parent(before), key.Parent(after)); c != 0 {
		return c < 0
	}
	return key.LastIndex(before) < key.LastIndex(after)
}

// finish writes the summary.
func (c *checker) finish(took time.Duration) error {
	var err error
	switch {
	case c.json:
		err = writeJSON(c.stdout, checkSummary{c.storeURL, c.objects, c.problems, took.Seconds()})
	case c.problems == 0:
		_, err = fmt.Fprintf(c.stdout, "%s: %s, no problems, checked in %s\n", c.storeURL, plural(int64(c.objects), "object"), took.Round(time.Millisecond))
	default:
		_, err = fmt.Fprintf(c.stdout, "%s: %s intact, checked in %s\n", c.storeURL, plural(int64(c.objects), "object"), took.Round(time.Millisecond))
	}
	if err == nil && c.problems > 0 {
		return &codeError{exitDamaged, fmt.Errorf("store %s: %s found", c.storeURL, plural(int64(c.problems), "problem"))}
	}
	return err
}
