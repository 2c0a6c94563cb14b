package command

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) countCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "count [PATTERN]",
		Short: "Count the objects that match a pattern, or all objects",
		Long: `Count the objects that match a pattern, or all objects objects. No matches is not an error. With --json,
the output is {"count": N}.`,
		Example:           "  oolith count 'cities/AD/*'",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			pattern := everything
			if len(args) == 1 {
				pattern = args[0]
			}
			if err := checkPattern(pattern); err != nil {
				return err
			}
			store, err := a.openStore(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer store.Close()
			count, err := store.Count(pattern)
			if err != nil {
				return err
			}
			if a.json {
				return writeJSON(a.stdout, map[string]int{"count": count})
			}
			_, err = fmt.Fprintln(a.stdout, count)
			return err
		},
	}
}
