package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/storage"
)

const dataHelp = `DATA is one JSON value; - reads it from standard input, and @FILE from a file. A string
has its quotes: '"blue"'. Before data that begins with a minus sign, write --.`

func (a *app) setCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set PATH DATA|-|@FILE",
		Short: "Store data at a path",
		Long: `Store data at a path, over what is there, and show the path. The write is on the disk
when the command ends. With --json, the stored object is shown.

` + dataHelp,
		Example: `  oolith set config/colours '{"sky":"blue"}'
  oolith set config/limit -- -1`,
		Args:              arguments(2, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.write(cmd.Context(), args[1], func(store storage.Database, data json.RawMessage) (string, error) {
				_, err := store.Set(args[0], data)
				return args[0], err
			})
		},
	}
}

// write reads the data argument, stores it and shows where. The data is read first, so
// that a wrong argument makes no store.
func (a *app) write(ctx context.Context, argument string, put func(storage.Database, json.RawMessage) (path string, err error)) error {
	data, err := a.readData(ctx, argument)
	if err != nil {
		return err
	}
	store, err := a.openStore(true)
	if err != nil {
		return err
	}
	defer store.Close()
	path, err := put(store, data)
	if err != nil {
		return err
	}
	if !a.json {
		_, err = fmt.Fprintln(a.stdout, path)
		return err
	}
	obj, err := store.Get(path)
	if err != nil {
		return err
	}
	return writeObjects(a.stdout, obj)
}

// readData returns the JSON value that an argument stands for.
func (a *app) readData(ctx context.Context, argument string) (json.RawMessage, error) {
	data, name := []byte(argument), "data"
	file, isFile := strings.CutPrefix(argument, "@")
	if isFile || argument == "-" {
		in, err := openInput(ctx, file, a.stdin)
		if err != nil {
			return nil, err
		}
		name = in.name
		data, err = io.ReadAll(io.LimitReader(in, maxRecord+1))
		if err = joinErrors(err, in.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(data) > maxRecord {
			return nil, usage(fmt.Errorf("%s: %w", name, tooLongError(maxRecord)))
		}
	}
	data = trimJSON(data)
	if len(data) == 0 {
		return nil, usage(fmt.Errorf("%s: it is empty, expected one JSON value", name))
	}
	if err := checkJSON(data); err != nil {
		hint := ""
		if !isFile && argument != "-" {
			hint = `; a string has quotes: '"text"'`
		}
		return nil, usage(fmt.Errorf("%s: %w%s", name, err, hint))
	}
	return data, nil
}
