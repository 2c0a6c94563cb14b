package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func (a *app) mvCommand() *cobra.Command {
	var replace, asNew bool
	cmd := &cobra.Command{
		Use:        "mv FROM TO",
		SuggestFor: []string{"rename", "move"},
		Short:      "Move an object to another path, atomically",
		Long: `Move the object at one path to another and show the new path; with --json, the object. The move
is atomic: no reader sees the object at both paths or at neither. The object keeps its data,
times and expiry, and gets a new revision.

If TO already has an object, nothing changes and the exit code is 6; --replace replaces it. On a
server with tokens, keeping the times needs a token with the verb admin. With --new-times the
object is created anew at its new path.`,
		Example:           "  oolith mv drafts/a posts/a",
		Args:              arguments(2, 2),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, path := range args {
				if err := key.Check(path); err != nil {
					return usage(fmt.Errorf("path %q: %w", path, err))
				}
				if key.HasGlob(path) {
					return usage(fmt.Errorf("path %q: it is a pattern, expected the path of one object", path))
				}
			}
			if args[0] == args[1] {
				return usage(fmt.Errorf("mv: both paths are %q, expected two", args[0]))
			}
			return a.change(cmd.Context(), changes, func(store opened) (meta.Object, error) {
				return move(store, args[0], args[1], replace, asNew)
			})
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "replace an existing object at TO")
	cmd.Flags().BoolVar(&asNew, "new-times", false, "create the object anew, with new times")
	return cmd
}

// move moves an object. If somebody else changes it at the same time, the changed object is moved.
func move(store opened, from, to string, replace, asNew bool) (meta.Object, error) {
	for {
		obj, err := store.Get(from)
		if err != nil {
			return meta.Object{}, err
		}
		opt := storage.SetOptions{IfAbsent: !replace, Expires: obj.Expires, Times: &storage.Times{Created: obj.Created, Updated: obj.Updated}}
		if asNew {
			opt.Times = nil
		}
		var batch storage.Batch
		batch.DelWith(from, storage.DelOptions{IfRevision: obj.Revision})
		batch.SetWith(to, obj.Data, opt)
		objects, err := store.Commit(&batch)
		if conflict, ok := errors.AsType[*storage.ConflictError](err); ok && conflict.Path == from || errors.Is(err, storage.ErrNotFound) {
			continue // it was changed or deleted in the meantime; Get shows it
		}
		if err != nil {
			return meta.Object{}, err
		}
		return objects[1], nil
	}
}
