package command

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// listOptions are the flags of list.
type listOptions struct {
	oldest   bool
	limit    int
	from, to string
}

func (a *app) listCommand() *cobra.Command {
	var options listOptions
	cmd := &cobra.Command{
		Use:   "list PATTERN",
		Short: "List objects by creation time, newest first",
		Long: `List the objects that match a pattern by creation time, newest first.

On a terminal the data is clipped to the width. Elsewhere each line has the time, the path and
the whole data, separated by tabs. With --json, each line is an object as export writes it.
Ranges include both ends. A time is ` + timeForms + `.`,
		Example: `  oolith list 'cities/*/*' --limit 5
  oolith list 'log/*' --oldest --limit 0
  oolith list 'log/*' --from yesterday
  oolith list 'log/*' --from 2026-01-01T00:00:00Z --to 2026-01-31T23:59:59Z`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			from, to, err := options.timeRange()
			if err != nil {
				return usage(err)
			}
			if err := checkPattern(args[0]); err != nil {
				return err
			}
			store, err := a.openStore(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer store.Close()
			// One more object shows whether there are more.
			wanted := options.limit
			silent := cmd.Flags().Changed("limit")
			if !silent {
				options.limit++
			}
			objects, err := options.objects(store, args[0], from, to)
			if err == nil {
				err = cmd.Context().Err()
			}
			if err != nil {
				return err
			}
			if len(objects) > wanted && !silent {
				objects = objects[:wanted]
				defer func() { err = joinErrors(err, a.hint("%d are shown, but more match; --limit 0 shows all", wanted)) }()
			}
			if len(objects) == 0 {
				if err := a.hintBelow(store, args[0]); err != nil {
					return err
				}
			}
			return a.writeList(objects)
		},
	}
	cmd.Flags().BoolVar(&options.oldest, "oldest", false, "oldest first")
	cmd.Flags().IntVarP(&options.limit, "limit", "n", 20, "show at most `N` objects; 0 for all")
	cmd.Flags().StringVar(&options.from, "from", "", "created at this `TIME` or later")
	cmd.Flags().StringVar(&options.to, "to", "", "created at this `TIME` or earlier")
	return cmd
}

// hint prints a hint for people on standard error.
func (a *app) hint(format string, values ...any) error {
	if err := a.stdout.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stderr, "oolith: "+format+"\n", values...)
	return err
}

// hintBelow hints at directories below a pattern without matches.
func (a *app) hintBelow(store opened, pattern string) error {
	place, isList := strings.CutSuffix(pattern, "*")
	place = strings.TrimSuffix(place, "/")
	if !isList || key.HasGlob(place) {
		return nil
	}
	below, err := store.Directories(place)
	if err != nil || len(below) == 0 {
		return err
	}
	return a.hint("%s below; try %s", directories(int64(len(below))), shellQuote(pattern+"*"))
}

// timeRange returns the requested range of times; all times if none.
func (o listOptions) timeRange() (from, to int64, err error) {
	from, to = math.MinInt64, math.MaxInt64
	if o.from != "" {
		if from, err = moment(o.from, time.Now(), false); err != nil {
			return 0, 0, fmt.Errorf("--from: %w", err)
		}
	}
	if o.to != "" {
		if to, err = moment(o.to, time.Now(), true); err != nil {
			return 0, 0, fmt.Errorf("--to: %w", err)
		}
	}
	if to < from {
		return 0, 0, fmt.Errorf("--to %s is before --from %s", o.to, o.from)
	}
	return from, to, nil
}

// objects reads the requested objects in the order of the list.
func (o listOptions) objects(store opened, pattern string, from, to int64) ([]meta.Object, error) {
	if o.limit < 0 {
		return nil, usage(fmt.Errorf("--limit %d: expected 0 (for all) or more", o.limit))
	}
	opt := storage.ListOptions{Descending: !o.oldest, From: &from, To: &to, Limit: o.limit}
	if o.limit > 0 {
		page, err := store.Page(pattern, opt)
		return page.Objects, err
	}
	var objects []meta.Object
	for obj, err := range store.Iterate(pattern, opt) {
		if err != nil {
			return nil, err
		}
		objects = append(objects, obj)
	}
	return objects, nil
}

// writeList writes a list for people or for programs.
func (a *app) writeList(objects []meta.Object) error {
	if a.json {
		return writeObjects(a.stdout, objects...)
	}
	if len(objects) == 0 && a.out.is {
		_, err := fmt.Fprintln(a.stdout, "nothing matches")
		return err
	}
	rows := make([][]string, len(objects))
	for i, obj := range objects {
		data := printable(string(obj.Data)) // one line, even without a terminal
		rows[i] = []string{formatTime(obj.Created, a.out), obj.Path, data}
	}
	return table(a.stdout, a.out, []string{"CREATED", "PATH", "DATA"}, rows)
}
