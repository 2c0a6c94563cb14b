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
		Short: "Read a backup and tell whether it is whole",
		Long: `Read a backup that backup wrote, or standard input for -, to its end, check all that can be
checked, and tell what is in it. The exit code is 5 when it is damaged, cut off, or no backup.`,
		Example: "  oolith verify monday.oolith",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.verify(cmd.Context(), args[0])
		},
	}
	cmd.Flags().BoolVarP(&r.quiet, "quiet", "q", false, "no progress and no summary: errors only")
	return cmd
}

func (a *app) restoreCommand() *cobra.Command {
	r := &backupReader{app: a}
	cmd := &cobra.Command{
		Use:   "restore FILE|-",
		Short: "Make a store of a backup",
		Long: `Make the store of a file that backup wrote, or of standard input for -. The whole backup is read and
checked first: a file that is damaged, cut off or no backup is refused with the exit code 5, before anything is
touched. Standard input is kept in a temporary file meanwhile. Memory is bounded.

The store must be a new one, or with --replace any one: then all that is in it is removed. Objects get their
paths, data, times, revisions and times to live back, and revisions go on behind them.

While a restore is under way its store is marked as incomplete: if it is stopped, by Ctrl-C, kill or a power
cut, every later command on the store fails until restore is run again.`,
		Example: `  oolith restore monday.oolith --store pebble:./restored
  oolith restore monday.oolith --replace`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.restore(cmd.Context(), args[0])
		},
	}
	cmd.Flags().BoolVar(&r.replace, "replace", false, "remove all that is in the store")
	cmd.Flags().BoolVarP(&r.quiet, "quiet", "q", false, "no progress and no summary: errors only")
	return cmd
}

// backupReader is one reading of a backup.
type backupReader struct {
	*app
	replace, quiet bool

	// How far it is. Only its own goroutine uses step and report.
	name           string
	size           int64 // of the file; -1 when unknown
	bytes, objects atomic.Int64
	step           backup.Step
	report         *progress
}

// open opens a backup: a file as it is, which can be read twice, or standard input.
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

// progressed is called by the package backup. Each step has a bar of its own.
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

// stop ends the bar.
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
		{"backup", r.name + ", whole"},
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

// failed makes the error of a backup that was not read to its end, into a store unless that is empty.
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
