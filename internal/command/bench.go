package command

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/storage"
)

func (a *app) benchCommand() *cobra.Command {
	b := &bencher{app: a, objects: 1000, most: 10 * time.Second, clients: 8, size: 200}
	cmd := &cobra.Command{
		Use:        "bench",
		SuggestFor: []string{"benchmark", "perf", "load"},
		Short:      "Measure writes, reads and lists",
		Long: `Measure how fast the store answers from here. bench stores objects below bench-NAME/, a unique
name, reads each of them, lists them, and deletes all of them, even after Ctrl-C. Each step
takes at most --time. The writes are as durable as any other write, and watchers see them.`,
		Example: `  oolith bench
  oolith bench --store http://127.0.0.1:8800 --objects 5000 --clients 32`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case b.objects < 1 || b.objects > 1_000_000:
				return usage(fmt.Errorf("--objects %d: expected 1 to 1,000,000", b.objects))
			case b.clients < 1 || b.clients > 1000:
				return usage(fmt.Errorf("--clients %d: expected 1 to 1,000", b.clients))
			case b.size < 2 || b.size > 1<<20:
				return usage(fmt.Errorf("--size %d: expected 2 to 1,048,576 bytes", b.size))
			case b.most <= 0:
				return usage(fmt.Errorf("--time %v: expected a time above zero", b.most))
			}
			return b.run(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&b.objects, "objects", b.objects, "store `N` objects")
	cmd.Flags().IntVar(&b.clients, "clients", b.clients, "make `N` concurrent calls")
	cmd.Flags().IntVar(&b.size, "size", b.size, "store objects of `N` bytes of data")
	cmd.Flags().DurationVar(&b.most, "time", b.most, "maximum duration of a step")
	return cmd
}

// bencher is one run of bench.
type bencher struct {
	*app
	objects, clients, size int
	most                   time.Duration
	namespace              string
}

// measured is the result of a step, as bench --json writes it.
type measured struct {
	Step  string `json:"step"`
	Calls int64  `json:"calls"`
	// Seconds is the duration of the whole step; the others are durations of a call, in nanoseconds.
	Seconds float64 `json:"seconds"`
	P50     int64   `json:"p50_ns"`
	P99     int64   `json:"p99_ns"`
}

// run opens the store. It deletes its objects even after Ctrl-C.
func (b *bencher) run(ctx context.Context) (err error) {
	store, err := b.openStore(context.WithoutCancel(ctx), changes)
	if err != nil {
		return err
	}
	defer store.Close()
	b.namespace = "bench-" + strings.ToLower(rand.Text()[:10])
	defer func() {
		if cleanErr := store.Del(b.namespace + "/**"); cleanErr != nil {
			err = joinErrors(err, fmt.Errorf("objects of the bench remain at %s/, delete them with del: %w", b.namespace, cleanErr))
		}
	}()
	data := json.RawMessage(`"` + strings.Repeat("x", b.size-2) + `"`)
	path := func(i int64) string { return fmt.Sprintf("%s/%d", b.namespace, i) }
	stored, err := b.step(ctx, "write", b.objects, func(i int64) error {
		_, err := store.SetWith(path(i), data, storage.SetOptions{})
		return err
	})
	if err != nil || stored == 0 {
		return err
	}
	if _, err := b.step(ctx, "read", int(stored), func(i int64) error {
		_, err := store.Get(path(i))
		if errors.Is(err, storage.ErrNotFound) {
			return nil // if the time was over, later objects may exist and this one not
		}
		return err
	}); err != nil {
		return err
	}
	_, err = b.step(ctx, "list of 100", max(1, int(stored)/100), func(int64) error {
		_, err := store.Page(b.namespace+"/*", storage.ListOptions{Descending: true, Limit: 100})
		return err
	})
	return err
}

// step makes calls, limited by the time of a step, and prints their speed. It returns the number of calls.
func (b *bencher) step(ctx context.Context, name string, calls int, call func(i int64) error) (int64, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	started := time.Now()
	var next atomic.Int64
	times := make([][]int64, b.clients)
	var all sync.WaitGroup
	for c := range b.clients {
		all.Go(func() {
			for ctx.Err() == nil && time.Since(started) < b.most {
				i := next.Add(1) - 1
				if i >= int64(calls) {
					return
				}
				began := time.Now()
				if err := call(i); err != nil {
					stop(err)
					return
				}
				times[c] = append(times[c], time.Since(began).Nanoseconds())
			}
		})
	}
	all.Wait()
	took, each := time.Since(started), slices.Concat(times...)
	if err := context.Cause(ctx); err != nil {
		return 0, fmt.Errorf("bench: %s: %w", name, err)
	}
	slices.Sort(each)
	m := measured{Step: name, Calls: int64(len(each)), Seconds: took.Seconds()}
	if len(each) > 0 {
		m.P50, m.P99 = each[len(each)/2], each[len(each)*99/100]
	}
	if b.json {
		return m.Calls, writeJSON(b.stdout, m)
	}
	_, err := fmt.Fprintf(b.stdout, "%-12s %s in %s, %s a second; p50 %s, p99 %s\n", name, plural(m.Calls, "call"), took.Round(time.Millisecond),
		thousands(int64(float64(m.Calls)/max(m.Seconds, 1e-9))), time.Duration(m.P50).Round(time.Microsecond), time.Duration(m.P99).Round(time.Microsecond))
	return m.Calls, err
}
