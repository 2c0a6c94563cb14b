package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/backup"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

func (a *app) backupCommand() *cobra.Command {
	b := &backuper{app: a}
	cmd := &cobra.Command{
		Use:   "backup FILE|-",
		Short: "Write a backup of the store to a file",
		Long: `Write all objects of the store, at one revision, into a compressed file with checksums, or to
standard output for -. restore recreates the store from it, on any engine: paths, data, times,
revisions and times to live. Expired objects are skipped. Memory use is bounded.

The file appears only when it is complete and on disk. A backup that fails or is interrupted
leaves an existing file unchanged.

No other process may have the store open. A program that has the store open makes a backup with
the package backup of this module, while it keeps running.`,
		Example: `  oolith backup monday.oolith
  oolith backup - --only 'cities/AD/*' | ssh elsewhere 'cat > andorra.oolith'`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if b.only != "" {
				if err := key.Check(b.only); err != nil {
					return usage(fmt.Errorf("--only %q: %w", b.only, err))
				}
			}
			return b.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&b.only, "only", "", "only objects that match this `PATTERN`, or the object at a path")
	cmd.Flags().BoolVarP(&b.quiet, "quiet", "q", false, "show only errors, no progress and no summary")
	return cmd
}

// backuper is one backup.
type backuper struct {
	*app
	only  string
	quiet bool

	objects atomic.Int64
}

func (b *backuper) run(ctx context.Context, file string) error {
	if file == "-" && b.out.is {
		return usage(errors.New("backup: standard output is a terminal, expected a file or a pipe"))
	}
	layer, err := b.durableLayer(b.storeURL, reads)
	if err != nil {
		return err
	}
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		return notOpened(b.storeURL, err)
	}
	defer layer.Close()
	started := time.Now()
	var info backup.Info
	write := func(out io.Writer) error {
		report := b.report(file, layer)
		defer report.stop()
		info, err = backup.WriteLayer(ctx, layer, out, backup.WriteOptions{Pattern: b.only, Share: 1, Progress: func(p backup.Progress) {
			b.objects.Store(p.Objects)
		}})
		return err
	}
	if file == "-" {
		if err := write(b.stdout); err != nil {
			return b.failed("standard output", err)
		}
		return nil
	}
	if err := writeFile(file, write); err != nil {
		return b.failed(file, err)
	}
	return b.finish(file, info, time.Since(started))
}

// report shows the progress of the backup.
func (b *backuper) report(file string, layer storage.EmbeddedLayer) *progress {
	size := int64(-1)
	if hinter, ok := storage.As[storage.SizeHinter](layer); ok && b.only == "" {
		size = int64(hinter.SizeHint())
	}
	return startProgress(b.stderr, b.err, b.quiet, work{name: file, verb: "written", size: size, objects: true}, func() progressState {
		n := b.objects.Load()
		return progressState{read: n, stored: n}
	})
}

// failed is the error of an incomplete backup.
func (b *backuper) failed(file string, err error) error {
	if errors.Is(err, context.Canceled) {
		return &codeError{exitInterrupted, fmt.Errorf("%s: not written, interrupted after %s", file, plural(b.objects.Load(), "object"))}
	}
	return fmt.Errorf("%s: not written, %w", file, err)
}

func (b *backuper) finish(file string, info backup.Info, took time.Duration) error {
	switch {
	case b.quiet:
		return nil
	case b.json:
		return writeJSON(b.stdout, summaryOf(info, took))
	}
	_, err := fmt.Fprintf(b.stdout, "backed up %s of %s at revision %d to %s, %s of data in %s, in %s\n", plural(info.Objects, "object"),
		b.storeURL, info.Revision, file, humanBytes(info.DataBytes), humanBytes(info.Size), took.Round(time.Millisecond))
	return err
}

// backupSummary is what backup, verify and restore write with --json.
type backupSummary struct {
	Objects   int64   `json:"objects"`
	Revision  uint64  `json:"revision"`
	Taken     int64   `json:"taken"` // Unix nanoseconds
	Pattern   string  `json:"pattern,omitempty"`
	DataBytes int64   `json:"data_bytes"`
	FileBytes int64   `json:"file_bytes"`
	SHA256    string  `json:"sha256"` // of the file without its last 40 bytes, as stored there
	Seconds   float64 `json:"seconds"`
}

func summaryOf(info backup.Info, took time.Duration) backupSummary {
	return backupSummary{
		Objects: info.Objects, Revision: info.Revision, Taken: info.Taken.UnixNano(), Pattern: info.Pattern,
		DataBytes: info.DataBytes, FileBytes: info.Size, SHA256: fmt.Sprintf("%x", info.SHA256), Seconds: took.Seconds(),
	}
}
