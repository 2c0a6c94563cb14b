package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

func (a *app) delCommand() *cobra.Command {
	var yes bool
	var opt storage.DelOptions
	cmd := &cobra.Command{
		Use:        "del PATH...|PATTERN",
		SuggestFor: []string{"rm", "delete", "remove", "unset"},
		Short:      "Delete objects, or all objects that match a pattern",
		Long: `Delete the objects at one path or several. If one is absent, the others are still deleted and
the exit code is 4. Or delete all objects that match a pattern, atomically; a pattern without
matches is not an error. With --if-revision, an object with another revision is kept and the
exit code is 6.

On a terminal, del asks before it deletes a pattern. Elsewhere a pattern requires --yes.`,
		Example: `  oolith del config/colours
  oolith del 'cities/AD/*' --yes`,
		Args:              arguments(1, many),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFlags(cmd); err != nil {
				return err
			}
			isPattern := slices.ContainsFunc(args, key.HasGlob)
			if isPattern && len(args) > 1 {
				return usage(fmt.Errorf("del: expected one pattern or several paths, %s given", plural(int64(len(args)), "argument")))
			}
			if len(args) > 1 && opt.IfRevision != 0 {
				return usage(fmt.Errorf("del: --if-revision needs exactly one path, %d given", len(args)))
			}
			if isPattern && opt.IfRevision != 0 {
				return usage(fmt.Errorf("del %q: --if-revision needs a path, not a pattern", args[0]))
			}
			if asks := a.in.is && a.err.is; isPattern && !yes && !asks {
				return usage(fmt.Errorf("del %q: add --yes to delete a pattern without a terminal to confirm on", args[0]))
			}
			store, err := a.openStore(cmd.Context(), changes)
			if err != nil {
				return err
			}
			defer store.Close()
			count := 0
			if isPattern {
				if count, err = a.confirmDel(cmd.Context(), store, args[0], yes); err == nil {
					err = store.Del(args[0])
				}
				if err != nil {
					return err
				}
			} else {
				count, err = delEach(store, args, opt)
			}
			if err != nil && count == 0 {
				return err
			}
			if a.json {
				return joinErrors(err, writeJSON(a.stdout, map[string]int{"deleted": count}))
			}
			_, writeErr := fmt.Fprintf(a.stdout, "deleted %s\n", plural(int64(count), "object"))
			return joinErrors(err, writeErr)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "delete without asking")
	addIfRevision(cmd, &opt.IfRevision)
	return cmd
}

// delEach deletes the objects at paths and returns how many existed. Absent ones are an error and do not affect the
// others.
func delEach(store opened, paths []string, opt storage.DelOptions) (count int, err error) {
	for _, path := range paths {
		switch delErr := store.DelWith(path, opt); {
		case delErr == nil:
			count++
		case errors.Is(delErr, storage.ErrNotFound):
			err = joinErrors(err, delErr)
		default:
			return count, joinErrors(err, delErr)
		}
	}
	return count, err
}

// confirmDel counts the matches of a pattern and asks whether to continue, unless yes is set or there are none.
func (a *app) confirmDel(ctx context.Context, store opened, pattern string, yes bool) (int, error) {
	matches, err := store.Count(pattern)
	if err != nil || yes || matches == 0 {
		return matches, err
	}
	if _, err := fmt.Fprintf(a.stderr, "delete %s that match %s? [y/N] ", plural(int64(matches), "object"), pattern); err != nil {
		return 0, err
	}
	in, err := openInput(ctx, "-", a.stdin)
	if err != nil {
		return 0, err
	}
	// The end of the input means no.
	answer, readErr := bufio.NewReader(in).ReadString('\n')
	if err := joinErrors(ctx.Err(), in.Close()); err != nil {
		return 0, err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return matches, nil
	}
	if readErr != nil {
		return 0, fmt.Errorf("del %q: nothing deleted, no answer: %w", pattern, readErr)
	}
	return 0, errors.New("nothing deleted")
}
