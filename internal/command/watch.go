package command

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func (a *app) watchCommand() *cobra.Command {
	w := &watcher{app: a}
	cmd := &cobra.Command{
		Use:        "watch PATTERN",
		SuggestFor: []string{"follow", "subscribe", "tail", "listen"},
		Short:      "Show matching objects and then every change",
		Long: `Show the objects that match a pattern, or the one at a path, and then every change, until
Ctrl-C. Each line has the kind, the path and the data, separated by tabs:
  state   an existing object
  live    the state is complete; changes follow
  set     the object was stored
  del     the object was deleted, and why: deleted, expired, limit, cleared, pattern
  reset   only with --from: the missed changes are no longer available; the whole state follows

With a server (--store http://...), watch survives lost connections and restarts of the server.
It shows every change, and none of them twice. If the missed changes are no longer available, it
shows the differences from what it showed before, which takes memory for the path of each
object.

With --json, each line is an object, and the last line of each commit has a "token". --from
TOKEN resumes after it, even in another process. A store on disk has no other writers while
watch has it open; to follow other writers, serve the store.`,
		Example: `  oolith watch 'cities/**' --store http://127.0.0.1:8800
  oolith watch 'log/*' --json --from bc59ec5835fee72b.42`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := key.Check(args[0]); err != nil {
				return usage(fmt.Errorf("pattern %q: %w", args[0], err))
			}
			if isServer(a.storeURL) {
				return w.server(cmd.Context(), args[0])
			}
			return w.files(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&w.from, "from", "", "resume after this `TOKEN` of an earlier watch of the pattern, on a server")
	return cmd
}

// watcher is one run of watch.
type watcher struct {
	*app
	from string

	// told has the revision of each object that was told and is there: what a fresh state is compared with.
	told map[string]uint64
	// fresh has what a fresh state names, while it is told; nil else.
	fresh map[string]bool
	live  bool // all that was there is told
}

// watched is a line of watch --json.
type watched struct {
	Kind     string          `json:"kind"`
	Path     string          `json:"path,omitempty"`
	Revision uint64          `json:"revision,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Object   json.RawMessage `json:"object,omitempty"`
	// Token is on the last line of a commit, and of a state.
	Token string `json:"token,omitempty"`
}

// server watches a store that a server has.
func (w *watcher) server(ctx context.Context, pattern string) error {
	c, err := w.connect(w.storeURL)
	if err != nil {
		return err
	}
	reached := false // the server was there once: then it is waited for
	waiting := false // and it is told that it is
	sub, err := c.Subscribe(pattern, client.SubscribeOptions{Token: w.from, Retry: func(err error) error {
		switch {
		case !reached:
			return err
		case waiting:
			return nil
		}
		waiting = true
		return w.hint("%s; waiting for the server", oneLine(err))
	}})
	if err != nil {
		return err
	}
	defer sub.Close()
	return w.follow(ctx, func() (storage.Notice, string, bool, error) {
		n, err := sub.Next(ctx)
		if err == nil {
			reached, waiting = true, false
		}
		return n, sub.Token(), sub.Lag() > 0, err
	})
}

// files watches a store of this machine, in which nothing happens but that objects expire.
func (w *watcher) files(ctx context.Context, pattern string) error {
	if w.from != "" {
		return usage(fmt.Errorf("watch: --from needs a server, but %q is not one", w.storeURL))
	}
	store, err := w.openLocal(reads)
	if err != nil {
		return err
	}
	defer store.Close()
	sub, err := store.Subscribe(ctx, pattern, storage.SubscribeOptions{Order: storage.OrderNewest})
	if err != nil {
		return err
	}
	defer sub.Close()
	return w.follow(ctx, func() (storage.Notice, string, bool, error) {
		n, err := sub.Next(ctx)
		return n, "", sub.Lag() > 0, err
	})
}

// follow tells what it is told, until the context ends.
func (w *watcher) follow(ctx context.Context, next func() (n storage.Notice, token string, more bool, err error)) error {
	w.told = map[string]uint64{}
	for {
		n, token, more, err := next()
		if ctx.Err() != nil {
			return nil // Ctrl-C is how a watch ends
		}
		if err != nil {
			return err
		}
		if err := w.take(n, token); err != nil {
			return err
		}
		if !more {
			if err := w.stdout.Flush(); err != nil {
				return fmt.Errorf("standard output: %w", err)
			}
		}
	}
}

// take tells a notice. Of a state that is told anew it tells what differs from what was told before.
func (w *watcher) take(n storage.Notice, token string) error {
	switch n.Kind {
	case storage.NoticeReset:
		w.fresh = map[string]bool{}
		if w.live {
			return nil
		}
		return w.write("reset", n, "")
	case storage.NoticeState:
		kind := "state"
		if w.fresh != nil && w.live {
			w.fresh[n.Path] = true
			if w.told[n.Path] == n.Revision {
				return nil
			}
			kind = "set"
		}
		w.told[n.Path] = n.Revision
		return w.write(kind, n, "")
	case storage.NoticeLive:
		return w.begin(n, token)
	case storage.NoticeSet:
		w.told[n.Path] = n.Revision
		return w.write("set", n, token)
	case storage.NoticeDel:
		delete(w.told, n.Path)
		return w.write("del", n, token)
	}
	return nil
}

// begin tells that all that was there is told. After a fresh state, what it does not name is gone.
func (w *watcher) begin(n storage.Notice, token string) error {
	if w.fresh != nil && w.live {
		for path := range w.told {
			if w.fresh[path] {
				continue
			}
			delete(w.told, path)
			if err := w.write("del", storage.Notice{Path: path, Revision: n.Revision}, ""); err != nil {
				return err
			}
		}
	}
	again := w.live
	w.fresh, w.live = nil, true
	if again && !w.json {
		return nil
	}
	return w.write("live", n, token)
}

// write writes a line.
func (w *watcher) write(kind string, n storage.Notice, token string) error {
	reason := ""
	if n.Reason != storage.ReasonNone {
		reason = n.Reason.String()
	}
	var stored *meta.Object
	if kind != "del" {
		stored = n.Object
	}
	if w.json {
		line := watched{Kind: kind, Path: n.Path, Revision: n.Revision, Reason: reason, Token: token}
		if stored != nil {
			text := appendObject(nil, *stored)
			line.Object = text[:len(text)-1]
		}
		return writeJSON(w.stdout, line)
	}
	line := kind
	if n.Path != "" {
		line += "\t" + n.Path
	}
	switch {
	case stored != nil:
		line += "\t" + w.show([]byte(printable(string(stored.Data))))
	case reason != "":
		line += "\t" + reason
	}
	_, err := fmt.Fprintln(w.stdout, line)
	return err
}
