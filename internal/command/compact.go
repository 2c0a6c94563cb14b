package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/storage"
)

func (a *app) compactCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compact [URL]",
		Short: "Give back the space of what was overwritten and deleted",
		Long: `Let the engine of a store, given by URL or --store, rewrite its files without what was overwritten and
deleted, and tell their size before and after. It may need as much free space as the store
takes meanwhile. Ctrl-C ends it at any time: the store stays whole.`,
		Example:           "  oolith compact pebble:./oolith-data",
		Args:              arguments(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.storeArgument(cmd, args); err != nil {
				return err
			}
			layer, err := a.durableLayer(a.storeURL, changes)
			if err != nil {
				return err
			}
			if err := a.compact(cmd.Context(), layer); err != nil {
				return fmt.Errorf("store %s: compact: %w", a.storeURL, err)
			}
			return nil
		},
	}
}

// compactSummary is what compact --json writes.
type compactSummary struct {
	Store   string  `json:"store"`
	Before  int64   `json:"before_bytes"`
	After   int64   `json:"after_bytes"`
	Seconds float64 `json:"seconds"`
}

// compact compacts a layer that is not started. The sizes are those of the closed store: an open
// one keeps files for a while that it needs no more.
func (a *app) compact(ctx context.Context, layer storage.EmbeddedLayer) error {
	compacter, ok := storage.As[storage.Compacter](layer)
	if !ok {
		return errors.New("its engine cannot be compacted, there is nothing to do")
	}
	before, err := sizeOnDisk(location(a.storeURL))
	if err != nil {
		return err
	}
	started := time.Now()
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		return whereServed(a.storeURL, err)
	}
	err = compacter.Compact(ctx)
	layer.Close()
	if err != nil {
		return err
	}
	took := time.Since(started)
	after, err := sizeOnDisk(location(a.storeURL))
	if err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.stdout, compactSummary{a.storeURL, before, after, took.Seconds()})
	}
	_, err = fmt.Fprintf(a.stdout, "%s: %s on disk before, %s after, compacted in %s\n",
		a.storeURL, humanBytes(before), humanBytes(after), took.Round(time.Millisecond))
	return err
}
