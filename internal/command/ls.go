package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// listed is a line of ls, a directory or an object, as ls --json writes it.
type listed struct {
	Name string `json:"name"`
	// Objects and Directories are the numbers directly in a directory; nil for an object.
	Objects     *int `json:"objects,omitempty"`
	Directories *int `json:"directories,omitempty"`
	// Created is an object's creation time in Unix nanoseconds, Bytes the size of its data.
	Created int64 `json:"created,omitempty"`
	Bytes   int   `json:"bytes,omitempty"`
}

func (a *app) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:        "ls [PATH]",
		SuggestFor: []string{"dir"},
		Short:      "List the directories and objects directly below a path",
		Long: `Show the direct content of a path, or of the top level: first directories by name, each with the
number of objects and directories directly in it; then objects, oldest first, with creation time
and size. Without a terminal the columns are separated by tabs. If there is nothing, the exit
code is 4.`,
		Example: `  oolith ls
  oolith ls cities/AD`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := directoryArgument(args)
			if err != nil {
				return err
			}
			store, err := a.openStore(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer store.Close()
			directories, err := store.Directories(path)
			if err != nil {
				return err
			}
			var all []listed
			for _, directory := range directories {
				all = append(all, listed{Name: directory.Name + "/", Objects: &directory.Objects, Directories: &directory.Directories})
			}
			pattern := "*"
			if path != "" {
				pattern = path + "/*"
			}
			for obj, err := range store.Iterate(pattern, storage.ListOptions{}) {
				if err == nil {
					err = cmd.Context().Err()
				}
				if err != nil {
					return err
				}
				all = append(all, listed{Name: obj.Index, Created: obj.Created, Bytes: len(obj.Data)})
			}
			if len(all) == 0 && path != "" {
				return &codeError{exitNotFound, fmt.Errorf("ls %q: there is nothing below this path", path)}
			}
			return a.writeListed(all)
		},
	}
}

// directoryArgument returns the path of the given directory; "" for the top level.
func directoryArgument(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	path := args[0]
	if len(path) > 1 && path[len(path)-1] == '/' {
		path = path[:len(path)-1] // as completion writes it
	}
	if err := key.Check(path); err != nil {
		return "", usage(fmt.Errorf("path %q: %w", path, err))
	}
	if key.HasGlob(path) {
		return "", usage(fmt.Errorf("path %q: it is a pattern, expected the path of a directory; use list or count for patterns", path))
	}
	return path, nil
}

func (a *app) writeListed(all []listed) error {
	rows := make([][]string, 0, len(all))
	for _, one := range all {
		if a.json {
			if err := writeJSON(a.stdout, one); err != nil {
				return err
			}
			continue
		}
		row := []string{one.Name}
		if one.Objects != nil {
			row = append(row, plural(int64(*one.Objects), "object"))
			if *one.Directories > 0 {
				row[1] += ", " + directoriesOf(*one.Directories)
			}
			row = append(row, "")
		} else {
			row = append(row, formatTime(one.Created, a.out), humanBytes(int64(one.Bytes)))
		}
		rows = append(rows, row)
	}
	if a.json {
		return nil
	}
	return table(a.stdout, a.out, []string{"NAME", "WHAT", "SIZE"}, rows)
}

func directoriesOf(n int) string { return directories(int64(n)) }
