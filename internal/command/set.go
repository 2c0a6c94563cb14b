package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

const dataHelp = `DATA is one JSON value; - reads it from standard input, and @FILE from a file. A string needs
its quotes: '"blue"'. Write -- before data that begins with a minus sign.`

func (a *app) setCommand() *cobra.Command {
	var opt storage.SetOptions
	cmd := &cobra.Command{
		Use:        "set PATH DATA|-|@FILE",
		SuggestFor: []string{"put", "write"},
		Short:      "Store data at a path",
		Long: `Store data at a path, replacing an existing object, and show the path. The write is on disk when
the command ends. With --json, the stored object is shown.

If a condition does not hold, nothing is stored and the exit code is 6. get --json shows the
revision of an object.

` + dataHelp,
		Example: `  oolith set config/colours '{"sky":"blue"}'
  oolith set config/limit -- -1
  oolith set sessions/kitchen '{"open":true}' --ttl 30m --if-absent`,
		Args:              arguments(2, 2),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFlags(cmd); err != nil {
				return err
			}
			return a.write(cmd.Context(), args[1], func(store opened, data json.RawMessage) (meta.Object, error) {
				return store.SetWith(args[0], data, opt)
			})
		},
	}
	addTTL(cmd, &opt.TTL)
	addIfRevision(cmd, &opt.IfRevision)
	cmd.Flags().BoolVar(&opt.IfAbsent, "if-absent", false, "only if there is no object at the path")
	return cmd
}

const ifRevisionFlag = "if-revision"

func addTTL(cmd *cobra.Command, ttl *time.Duration) {
	cmd.Flags().Var(ttlValue{ttl}, "ttl", "time to live, such as 30m, 48h or 7d (default: no expiry)")
}

func addIfRevision(cmd *cobra.Command, revision *uint64) {
	cmd.Flags().Uint64Var(revision, ifRevisionFlag, 0, "only if the object has this revision")
}

// checkFlags rejects an explicit zero value, which means an absent flag.
func checkFlags(cmd *cobra.Command) error {
	if flag := cmd.Flags().Lookup(ifRevisionFlag); flag != nil && flag.Changed && flag.Value.String() == "0" {
		return usage(errors.New("--if-revision 0: expected a revision, from 1 on"))
	}
	return nil
}

// write reads the data argument, stores it and shows the path. It reads the data first, so a wrong argument creates
// no store.
func (a *app) write(ctx context.Context, argument string, put func(opened, json.RawMessage) (meta.Object, error)) error {
	data, err := a.readData(ctx, argument)
	if err != nil {
		return err
	}
	return a.change(ctx, creates, func(store opened) (meta.Object, error) { return put(store, data) })
}

// change opens the store, changes an object and shows its path or, with --json, the object.
func (a *app) change(ctx context.Context, to access, do func(opened) (meta.Object, error)) error {
	store, err := a.openStore(ctx, to)
	if err != nil {
		return err
	}
	defer store.Close()
	obj, err := do(store)
	if err != nil {
		return err
	}
	if !a.json {
		_, err = fmt.Fprintln(a.stdout, obj.Path)
		return err
	}
	return writeObjects(a.stdout, obj)
}

// readData returns the JSON value of an argument.
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
	data = trimJSON(bytes.TrimPrefix(data, []byte(byteOrderMark)))
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
