package main

import (
	"github.com/spf13/cobra"
)

func (a *app) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get PATH",
		Short: "Show the data of one object",
		Long: `Show the data of one object, byte for byte as it was stored. With --json, the
object with its times, path and revision. The exit code is 4 when there is none.`,
		Example:           "  oolith get config/colours",
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := a.openStore(reads)
			if err != nil {
				return err
			}
			defer store.Close()
			obj, err := store.Get(args[0])
			if err != nil {
				return err
			}
			if a.json {
				return writeObjects(a.stdout, obj)
			}
			_, err = a.stdout.WriteString(a.show(obj.Data) + "\n")
			return err
		},
	}
}
