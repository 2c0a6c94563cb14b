package command

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/key"
)

func (a *app) exportCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "export [PATTERN]",
		Short: "Write objects as JSON Lines that import reads back",
		Long: `Write the objects that match a pattern, or the one at a path, or all objects, as JSON Lines:
created, updated, index, path, data, revision and, where it has one, the time it expires at, of
one object a line, directory by directory. import gives them back with their paths, times and data;
revisions are given anew.

It is one consistent snapshot of the store, and memory is bounded. Data keeps its bytes, but
line breaks between its tokens become spaces.

With --out, the file is there when it is whole and not before: an export that fails or is
interrupted leaves what was there.`,
		Example: `  oolith export --out backup.jsonl
  oolith export 'cities/AD/*' | gzip > andorra.jsonl.gz`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			pattern := ""
			if len(args) == 1 {
				pattern = args[0]
				if err := key.Check(pattern); err != nil {
					return usage(fmt.Errorf("pattern %q: %w", pattern, err))
				}
			}
			return a.export(cmd.Context(), pattern, out)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write to this `FILE`; - is standard output")
	return cmd
}

func (a *app) export(ctx context.Context, pattern, out string) error {
	store, err := a.openScanner(ctx)
	if err != nil {
		return err
	}
	defer store.close()
	if out == "" || out == "-" {
		_, err := exportTo(ctx, a.stdout, store, pattern)
		return err
	}
	var count int64
	err = writeFile(out, func(file io.Writer) error {
		count, err = exportTo(ctx, file, store, pattern)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: not written, %w", out, err)
	}
	if a.json {
		return writeJSON(a.stdout, map[string]int64{"exported": count})
	}
	_, err = fmt.Fprintf(a.stdout, "exported %s to %s\n", plural(count, "object"), out)
	return err
}

// exportTo writes whole lines only, also when it is interrupted.
func exportTo(ctx context.Context, out io.Writer, store scanner, pattern string) (int64, error) {
	var count int64
	if pattern != "" && !key.HasGlob(pattern) {
		obj, err := store.get(pattern)
		if err != nil {
			return 0, err
		}
		return 1, writeObjects(out, obj)
	}
	for obj, err := range store.scan(pattern) {
		if err != nil {
			return count, err
		}
		if ctx.Err() != nil {
			return count, &codeError{exitInterrupted, fmt.Errorf("interrupted after %s", plural(count, "object"))}
		}
		if err := writeObjects(out, obj); err != nil {
			return count, err
		}
		count++
	}
	return count, nil
}

// writeFile puts a file in its place when all of it is written and on the disk. When
// anything fails, what was there stays.
func writeFile(name string, write func(io.Writer) error) (err error) {
	mode := fs.FileMode(0o666) // less the umask
	if info, err := os.Stat(name); err == nil {
		if mode = info.Mode(); !mode.IsRegular() {
			return errors.New("it exists and is not a regular file, expected a file name")
		}
	}
	temporary := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"."+rand.Text())
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = joinErrors(err, os.Remove(temporary))
		}
	}()
	buffer := bufio.NewWriterSize(file, readAhead)
	err = write(buffer)
	if err == nil {
		err = buffer.Flush()
	}
	if err == nil {
		err = file.Sync()
	}
	if err = joinErrors(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, name); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(name))
}

// syncDirectory makes a new name survive a loss of power, where directories can be synced.
func syncDirectory(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return joinErrors(dir.Sync(), dir.Close())
}
