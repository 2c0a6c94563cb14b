package command

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/storage"
)

func (a *app) getCommand() *cobra.Command {
	var pretty bool
	cmd := &cobra.Command{
		Use:        "get PATH...",
		SuggestFor: []string{"cat", "show", "read"},
		Short:      "Show the data of objects",
		Long: `Show the data of one object or several, byte for byte as stored, each followed by a line feed.
With --pretty, each member is on a line of its own. With --json, the output is the objects with
their times, paths and revisions. If one is absent, the others are shown and the exit code is 4.`,
		Example: `  oolith get config/colours
  oolith get config/colours config/limit --json`,
		Args:              arguments(1, many),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := a.openStore(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer store.Close()
			var absent error
			for _, path := range args {
				obj, err := store.Get(path)
				switch {
				case errors.Is(err, storage.ErrNotFound):
					absent = joinErrors(absent, err)
					continue
				case err == nil && a.json:
					err = writeObjects(a.stdout, obj)
				case err == nil && pretty:
					_, err = a.stdout.WriteString(a.showPretty(obj.Data) + "\n")
				case err == nil:
					_, err = a.stdout.WriteString(a.show(obj.Data) + "\n")
				}
				if err != nil {
					return joinErrors(absent, err)
				}
			}
			return absent
		},
	}
	cmd.Flags().BoolVar(&pretty, "pretty", false, "each member on a line of its own")
	return cmd
}
