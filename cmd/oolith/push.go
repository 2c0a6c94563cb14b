package main

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/storage"
)

func (a *app) pushCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "push PATTERN DATA|-|@FILE",
		Short: "Store data under a new index",
		Long: `Store data under a new index in place of the '*' at the end of the pattern, and show
its path. The write is on the disk when the command ends. With --json, the stored object
is shown.

` + dataHelp,
		Example:           `  oolith push 'log/*' '{"event":"door opened"}'`,
		Args:              arguments(2, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.write(cmd.Context(), args[1], func(store storage.Database, data json.RawMessage) (string, error) {
				index, err := store.Push(args[0], data)
				return strings.TrimSuffix(args[0], "*") + index, err
			})
		},
	}
}
