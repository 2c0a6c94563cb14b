package command

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// What a shell offers behind the tab key. A completion never fails: where nothing can be found, nothing is offered.

// maxCompletions is how many names a completion offers at most.
const maxCompletions = 200

// complete sets what completes a flag, which the command has.
func complete(cmd *cobra.Command, flag string, by cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, by); err != nil {
		panic(err) // no such flag, or set twice: a slip of this program, which any start of it shows
	}
}

// completeStores offers the schemes, and files.
func completeStores(_ *cobra.Command, _ []string, begun string) (names []string, _ cobra.ShellCompDirective) {
	for _, form := range engine.Forms(engines...) {
		scheme, _, _ := strings.Cut(form, ":")
		if strings.HasPrefix(scheme+":", begun) {
			names = append(names, scheme+":\t"+form)
		}
	}
	if len(names) == 0 || begun == "" {
		return names, cobra.ShellCompDirectiveNoSpace
	}
	return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// completePaths offers the next segment of the paths of the store: a directory ends in '/'.
func (a *app) completePaths(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	names := a.pathsBelow(cmd.Context(), begun)
	directive := cobra.ShellCompDirectiveNoFileComp
	if slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, "/") }) {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return names, directive
}

func (a *app) pathsBelow(ctx context.Context, begun string) (names []string) {
	place := ""
	if cut := strings.LastIndexByte(begun, '/'); cut >= 0 {
		place = begun[:cut]
	}
	if place != "" && !key.IsValid(place) || key.HasGlob(begun) {
		return nil
	}
	store, err := a.openStore(ctx, reads)
	if err != nil {
		return nil
	}
	defer store.Close()
	directories, err := store.Directories(place)
	if err != nil {
		return nil
	}
	within := place
	if within != "" {
		within += "/"
	}
	for _, directory := range directories {
		if name := within + directory.Name + "/"; strings.HasPrefix(name, begun) {
			names = append(names, name)
		}
	}
	page, err := store.Page(begun+"*", storage.ListOptions{Limit: maxCompletions})
	if err != nil {
		return nil
	}
	for _, obj := range page.Objects {
		names = append(names, obj.Path)
	}
	slices.Sort(names)
	return names[:min(len(names), maxCompletions)]
}

// completeImport offers the fields of the first record where --as has an open brace.
func (a *app) completeImport(cmd *cobra.Command) {
	complete(cmd, "as", func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		open := strings.LastIndexByte(begun, '{')
		if open < strings.LastIndexByte(begun, '}') || open < 0 || len(args) == 0 || args[0] == "-" {
			return nil, directive
		}
		at, _ := cmd.Flags().GetString("at")
		isCSV, _ := cmd.Flags().GetBool("csv")
		var names []string
		for _, field := range fieldsOf(cmd.Context(), args[0], format{at: at, csv: isCSV || isCSVName(args[0])}) {
			if name := begun[:open+1] + field + "}"; strings.HasPrefix(name, begun) {
				names = append(names, name)
			}
		}
		return names, directive
	})
}

// fieldsOf returns the names of the members of a file's first record.
func fieldsOf(ctx context.Context, file string, as format) []string {
	in, err := openInput(ctx, file, nil)
	if err != nil {
		return nil
	}
	defer func() { _ = in.Close() }() // a file that was read only
	records, err := readRecords(in, 1<<20, as)
	if err != nil {
		return nil
	}
	first, err := records.next()
	var members map[string]json.RawMessage
	if err != nil || json.Unmarshal(first.data, &members) != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(members))
}
