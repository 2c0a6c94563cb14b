package command

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// noEnd is how ttl has an object without an end.
const noEnd = "none"

func (a *app) ttlCommand() *cobra.Command {
	var opt storage.SetOptions
	cmd := &cobra.Command{
		Use:        "ttl PATH [DURATION|" + noEnd + "]",
		SuggestFor: []string{"expire", "touch", "persist"},
		Short:      "Show or change the time to live of an object",
		Long: `Show the remaining time to live of the object at a path, or "none" if it does not expire. Or set
a new time to live, which begins now: ` + durationForms + `; "none" removes it.
Data and times of the object are kept. With --json the object is shown.`,
		Example: `  oolith ttl sessions/kitchen
  oolith ttl sessions/kitchen 30m
  oolith ttl sessions/kitchen none`,
		Args:              arguments(1, 2),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFlags(cmd); err != nil {
				return err
			}
			if len(args) == 1 {
				if cmd.Flags().Changed(ifRevisionFlag) {
					return usage(fmt.Errorf("ttl %q: --%s needs a new time to live", args[0], ifRevisionFlag))
				}
				return a.showTTL(cmd, args[0])
			}
			if args[1] != noEnd {
				if err := (ttlValue{&opt.TTL}).Set(args[1]); err != nil {
					return usage(fmt.Errorf("ttl: %w", err))
				}
			}
			return a.change(cmd.Context(), changes, func(store opened) (meta.Object, error) {
				if _, err := store.TouchWith(args[0], opt); err != nil {
					return meta.Object{}, err
				}
				return store.Get(args[0])
			})
		},
	}
	addIfRevision(cmd, &opt.IfRevision)
	return cmd
}

func (a *app) showTTL(cmd *cobra.Command, path string) error {
	store, err := a.openStore(cmd.Context(), reads)
	if err != nil {
		return err
	}
	defer store.Close()
	obj, err := store.Get(path)
	switch {
	case err != nil:
		return err
	case a.json:
		return writeObjects(a.stdout, obj)
	case obj.Expires == 0:
		_, err = fmt.Fprintln(a.stdout, noEnd)
	default:
		_, err = fmt.Fprintln(a.stdout, time.Until(time.Unix(0, obj.Expires)).Round(time.Second))
	}
	return err
}
