package command

import (
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/patch"
)

func (a *app) patchCommand() *cobra.Command {
	var opt patch.Options
	var operations bool
	cmd := &cobra.Command{
		Use:        "patch PATH DATA|-|@FILE",
		SuggestFor: []string{"merge", "update"},
		Short:      "Change part of an object",
		Long: `Change part of an object and show its path; with --json, the stored object.

DATA is a JSON Merge Patch (RFC 7396): its members replace those of the object, recursively, and
null removes a member. If there is no object, it creates one. With --json-patch, DATA is a JSON
Patch (RFC 6902): an array of operations, of which all apply or none. If an operation does not
apply or a test fails, nothing changes and the exit code is 6. A time to live is kept. If
somebody else changes the object at the same time, the patch is applied to the newer object.

` + dataHelp,
		Example: `  oolith patch config/colours '{"sky":"grey","sea":null}'
  oolith patch config/colours '[{"op":"test","path":"/sky","value":"grey"},{"op":"add","path":"/sun","value":1}]' --json-patch`,
		Args:              arguments(2, 2),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFlags(cmd); err != nil {
				return err
			}
			data, err := a.readData(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			isArray := data[0] == '['
			if isArray != operations {
				if operations {
					return usage(errors.New("data: a JSON Patch is an array of operations; for a merge patch omit --json-patch"))
				}
				return usage(errors.New("data: an array would replace the whole object; add --json-patch for a JSON Patch, or use set to replace the object"))
			}
			to := creates
			if operations {
				to = changes
			}
			return a.change(cmd.Context(), to, func(store opened) (meta.Object, error) {
				obj, err := applyPatch(store, args[0], data, operations, opt)
				if errors.Is(err, patch.ErrDoesNotApply) || errors.Is(err, patch.ErrTestFailed) {
					err = &codeError{exitConflict, err}
				} else if errors.Is(err, patch.ErrInvalidPatch) {
					err = usage(err)
				}
				return obj, err
			})
		},
	}
	cmd.Flags().BoolVar(&operations, "json-patch", false, "DATA is a JSON Patch, an array of operations")
	addIfRevision(cmd, &opt.IfRevision)
	return cmd
}

func applyPatch(store opened, path string, data json.RawMessage, operations bool, opt patch.Options) (meta.Object, error) {
	if operations {
		return patch.ApplyWith(store, path, data, opt)
	}
	return patch.MergeWith(store, path, data, opt)
}
