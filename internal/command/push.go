package command

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func (a *app) pushCommand() *cobra.Command {
	var opt storage.SetOptions
	cmd := &cobra.Command{
		Use:   "push PATTERN DATA|-|@FILE",
		Short: "Store data under a new index",
		Long: `Store data under a new index, which replaces the '*' at the end of the pattern, and show its
path. The write is on disk when the command ends. With --json, the stored object is shown.

` + dataHelp,
		Example: `  oolith push 'log/*' '{"event":"door opened"}'
  oolith push 'alerts/*' '"battery low"' --ttl 24h`,
		Args:              arguments(2, 2),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFlags(cmd); err != nil {
				return err
			}
			return a.write(cmd.Context(), args[1], func(store opened, data json.RawMessage) (meta.Object, error) {
				return store.PushWith(args[0], data, opt)
			})
		},
	}
	addTTL(cmd, &opt.TTL)
	return cmd
}
