package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/backup"
	"github.com/oolith-db/oolith/storage"
)

func (a *app) verifyCommand() *cobra.Command {
	r := &backupReader{app: a}
	cmd := &cobra.Command{
		Use:   "verify FILE|-",
		Short: "Verify a backup",
		Long: `Read a backup, or standard input for -, to its end, verify everything, and show what is in it.
The exit code is 5 if the backup is damaged or truncated, or if the file is not a backup.`,
		Example: "  oolith verify monday.oolith",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.verify(cmd.Context(), args[0])
		},
	}
	cmd.Flags().BoolVarP(&r.quiet, "quiet", "q", false, "show only errors, no progress and no summary")
	return cmd
}

func (a *app) restoreCommand() *cobra.Command {
	r := &backupReader{app: a}
	cmd := &cobra.Command{
		Use:   "restore FILE|-",
		Short: "Restore a store from a backup",
		Long: `Restore a store from a backup, or from standard input for -. restore first reads and verifies
the whole backup. If it is damaged or truncated, or not a backup, the exit code is 5 and nothing
is changed. Standard input is kept in a temporary file. Memory use is bounded.

The store must be new. With --replace it may be any store, and all of its content is deleted.
Objects get their paths, data, times, revisions and times to live back, and new revisions
continue after them.

An interrupted restore is always detected. While a restore is in progress, the store is marked
as incomplete. If the restore is stopped, by Ctrl-C, kill or a power failure, every later
command on the store fails until restore is run again.`,
		Example: `  oolith restore monday.oolith --store pebble:./restored
  oolith restore monday.oolith --replace`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.restore(cmd.Context(), args[0])
		},
	}
	cmd.Flags().BoolVar(&r.replace, "replace", false, "delete the content of the store first")
	cmd.Flags().BoolVarP(&r.quiet, "quiet", "q", false, "show only errors, no progress and no summary")
	return cmd
}

// backupReader reads a backup once.
type backupReader struct {
	*app
	replace, quiet bool

	// The progress. Only its own goroutine uses step and report.
	name           string
	size           int64 // of the file; -1 when unknown
	bytes, objects atomic.Int64
	step           backup.Step
	report         *progress
}

// open opens a backup: a file, which can be read twice, or standard input.
func (r *backupReader) open(ctx context.Context, name string) (io.ReadCloser, error) {
	if name == "-" {
		in, err := openInput(ctx, name, r.stdin)
		if err != nil {
			return nil, err
		}
		r.name, r.size = in.name, -1
		return in, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err // names the file
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s: it is a directory, expected a file", name)
	}
	if err != nil {
		return nil, joinClose(err, file)
	}
	r.name, r.size = name, -1
	if info.Mode().IsRegular() {
		r.size = info.Size()
	}
	return file, nil
}

// progressed is called by the package backup. Each step has its own progress.
func (r *backupReader) progressed(p backup.Progress) {
	r.bytes.Store(p.Bytes)
	r.objects.Store(p.Objects)
	if p.Step == r.step {
		return
	}
	r.stop()
	r.step = p.Step
	verb := "verified"
	if p.Step == backup.StepRestore {
		verb = "restored"
	}
	r.report = startProgress(r.stderr, r.err, r.quiet, work{name: r.name, verb: verb, size: r.size}, func() progressState {
		return progressState{read: r.bytes.Load(), stored: r.objects.Load()}
	})
}

// stop ends the progress report.
func (r *backupReader) stop() {
	if r.report != nil {
		r.report.stop()
		r.report = nil
	}
}

func (r *backupReader) verify(ctx context.Context, name string) error {
	in, err := r.open(ctx, name)
	if err != nil {
		return err
	}
	started := time.Now()
	info, err := backup.Verify(ctx, in, backup.VerifyOptions{Progress: r.progressed})
	r.stop()
	if err = joinErrors(err, in.Close()); err != nil {
		return r.failed(err, "")
	}
	took := time.Since(started)
	switch {
	case r.quiet:
		return nil
	case r.json:
		return writeJSON(r.stdout, summaryOf(info, took))
	}
	return r.writeInfo(info, took)
}

func (r *backupReader) writeInfo(info backup.Info, took time.Duration) error {
	rows := [][2]string{
		{"backup", r.name + ", intact"},
		{"objects", thousands(info.Objects)},
		{"revision", fmt.Sprint(info.Revision)},
		{"taken", formatTime(info.Taken.UnixNano(), r.out)},
		{"data", humanBytes(info.DataBytes)},
		{"file", humanBytes(info.Size)},
		{"sha-256", fmt.Sprintf("%x", info.SHA256)},
		{"verified in", took.Round(time.Millisecond).String()},
	}
	if info.Pattern != "" {
		rows = append(rows, [2]string{"only", info.Pattern})
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(r.stdout, "%-12s %s\n", row[0], row[1]); err != nil {
			return err
		}
	}
	return nil
}

func (r *backupReader) restore(ctx context.Context, name string) error {
	in, err := r.open(ctx, name)
	if err != nil {
		return err
	}
	target, err := r.durableLayer(r.storeURL, creates)
	if err != nil {
		return joinClose(err, in)
	}
	started := time.Now()
	info, err := backup.Restore(ctx, in, target, backup.RestoreOptions{Replace: r.replace, Progress: r.progressed})
	r.stop()
	if err = joinErrors(whereServed(r.storeURL, err), in.Close()); err != nil {
		return r.failed(err, r.storeURL)
	}
	took := time.Since(started)
	switch {
	case r.quiet:
		return nil
	case r.json:
		return writeJSON(r.stdout, summaryOf(info, took))
	}
	_, err = fmt.Fprintf(r.stdout, "restored %s of revision %d, of %s, to %s in %s\n", plural(info.Objects, "object"),
		info.Revision, formatTime(info.Taken.UnixNano(), r.out), r.storeURL, took.Round(time.Millisecond))
	return err
}

// failed is the error of an incomplete read of a backup, into a store unless that is empty.
func (r *backupReader) failed(err error, store string) error {
	state := ""
	switch {
	case errors.Is(err, storage.ErrIncomplete):
		state = "; " + store + " is incomplete, run the restore again"
	case store != "":
		state = "; " + store + " is unchanged"
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &codeError{exitInterrupted, fmt.Errorf("%s: interrupted after %s%s", r.name, plural(r.objects.Load(), "object"), state)}
	case errors.Is(err, backup.ErrNotEmpty):
		return fmt.Errorf("%s: %w; --replace deletes its content", r.name, err)
	case errors.Is(err, backup.ErrDamaged), errors.Is(err, backup.ErrForeign):
		return &codeError{exitDamaged, fmt.Errorf("%s: %w%s", r.name, err, state)}
	case errors.Is(err, storage.ErrIncomplete) && r.step != backup.StepRestore: // by something else
		return fmt.Errorf("%s: %w; --replace deletes its content", r.name, err)
	}
	return fmt.Errorf("%s: %w", r.name, err)
}
