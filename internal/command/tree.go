package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// treeLine is a directory of tree --json.
type treeLine struct {
	Path        string `json:"path"`
	Objects     int    `json:"objects"`
	Directories int    `json:"directories"`
}

func (a *app) treeCommand() *cobra.Command {
	depth := 3
	cmd := &cobra.Command{
		Use:   "tree [PATH]",
		Short: "Show the tree of directories below a path",
		Long: `Show the directories below a path, or all directories, each with the number of objects directly
in it. --depth limits the number of levels; deeper directories are counted but not shown. With
--json each line is a directory.

A store on disk is read once for each level. A server with its objects in memory answers from
its directories.`,
		Example: `  oolith tree
  oolith tree cities --depth 1`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := directoryArgument(args)
			if err == nil && depth < 1 {
				err = usage(fmt.Errorf("--depth %d: expected 1 or more", depth))
			}
			if err != nil {
				return err
			}
			store, err := a.openStore(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer store.Close()
			found := false
			err = walk(cmd.Context(), store, path, func(b branch) (bool, error) {
				found = true
				return b.depth < depth, a.writeBranch(b, b.depth == depth)
			})
			if err == nil && !found && path != "" {
				err = &codeError{exitNotFound, fmt.Errorf("tree %q: there are no directories below this path", path)}
			}
			return err
		},
	}
	cmd.Flags().IntVar(&depth, "depth", depth, "show at most `N` levels")
	return cmd
}

// writeBranch writes a directory; of the last level shown, what is in it too.
func (a *app) writeBranch(b branch, last bool) error {
	if a.json {
		return writeJSON(a.stdout, treeLine{b.path, b.Objects, b.Directories})
	}
	var has []string
	if b.Objects > 0 {
		has = append(has, plural(int64(b.Objects), "object"))
	}
	if last && b.Directories > 0 {
		has = append(has, directoriesOf(b.Directories))
	}
	line := strings.Repeat("  ", b.depth-1) + b.Name + "/"
	if len(has) > 0 {
		line += "  " + strings.Join(has, ", ")
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}
