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
		Short: "Export objects as JSON Lines for import",
		Long: `Write the objects that match a pattern, the object at a path, or all objects, as JSON Lines,
directory by directory. Each line has created, updated, index, path, data, revision and, if the
object expires, expires. import restores paths, times and data, and assigns new revisions.

The output is one consistent snapshot of the store. Memory use is bounded. Data is written byte
for byte, except that line breaks between tokens become spaces.

With --out, the file appears only when it is complete. An export that fails or is interrupted
leaves an existing file unchanged.`,
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

// exportTo writes only complete lines, even if it is interrupted.
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

// writeFile replaces a file when the new content is complete and on disk. On error the old file stays.
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

// syncDirectory makes a new name survive power loss, if directories can be synced.
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
