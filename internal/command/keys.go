package command

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

func (a *app) keysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keys [PATTERN]",
		Short: "List the paths of the store, or those that match a pattern",
		Long: `List the paths of the store, or those that match a pattern, in byte order, one per line. With
--json, each is a JSON string.`,
		Example:           "  oolith keys 'cities/AD/*'",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			pattern := ""
			if len(args) == 1 {
				pattern = args[0]
				if err := checkPattern(pattern); err != nil {
					return err
				}
			}
			store, err := a.openScanner(cmd.Context())
			if err != nil {
				return err
			}
			defer store.close()
			var paths []string
			for obj, err := range store.scan(pattern) {
				if err == nil {
					err = cmd.Context().Err()
				}
				if err != nil {
					return err
				}
				paths = append(paths, obj.Path)
			}
			slices.Sort(paths) // a scan goes directory by directory
			for _, path := range paths {
				if a.json {
					err = writeJSON(a.stdout, path)
				} else {
					_, err = fmt.Fprintln(a.stdout, path)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}
