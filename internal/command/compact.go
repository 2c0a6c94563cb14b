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
		Short: "Reclaim the space of overwritten and deleted objects",
		Long: `Rewrite the files of a store, given by URL or --store, to reclaim the space of overwritten and
deleted objects, and show the size before and after. This may temporarily need as much free
space as the store takes. Ctrl-C stops it at any time without damage.`,
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

// compact compacts a layer that is not started. It measures the closed store, because an open one keeps unneeded
// files for a while.
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
