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

// Shell completion. It never fails: if nothing can be found, it offers nothing.

// maxCompletions is the maximum number of completions.
const maxCompletions = 200

// complete sets the completion of a flag.
func complete(cmd *cobra.Command, flag string, by cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, by); err != nil {
		panic(err) // an unknown flag, or set twice: a bug that shows at every start
	}
}

// completeStores completes schemes and files.
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

// completePaths completes the next segment of paths in the store. A directory ends in '/'.
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

// completeImport completes the fields of the first record after an open brace in --as.
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

// fieldsOf returns the member names of a file's first record.
func fieldsOf(ctx context.Context, file string, as format) []string {
	in, err := openInput(ctx, file, nil)
	if err != nil {
		return nil
	}
	defer func() { _ = in.Close() }() // it was only read
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
