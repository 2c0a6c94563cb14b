package main

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// phase watches a store during one measurement.
type phase func(store *storage.Layered) (stop func())

func nobody(*storage.Layered) func() { return func() {} }

func draining(store *storage.Layered) func() { return store.Watch(func(storage.Event) {}) }

// stuck is a watcher whose callback does not return before the phase ends.
func stuck(store *storage.Layered) func() {
	release := make(chan struct{})
	stop := store.Watch(func(storage.Event) { <-release })
	return sync.OnceFunc(func() {
		stop()
		close(release)
	})
}

func both(a, b phase) phase {
	return func(store *storage.Layered) func() {
		stopA, stopB := a(store), b(store)
		return func() { stopA(); stopB() }
	}
}

// watcherRows measures the effect of a stuck watcher on the slowest one percent of all writes.
func watcherRows(c config) ([]row, error) {
	inMemory, err := memoryStore(c.objects)
	if err != nil {
		return nil, err
	}
	defer inMemory.Close()
	dir := filepath.Join(c.dir, "watcher")
	if err := fillLayer(dir, c.objects); err != nil {
		return nil, err
	}
	durable, err := durableStore(dir)
	if err != nil {
		return nil, err
	}
	defer durable.Close()

	// More than the backlog of a watcher before its events coalesce.
	samples := max(2000, min(c.objects/5, 100_000))
	var rows []row
	for _, contest := range []struct {
		name             string
		store            *storage.Layered
		writers, samples int
		a, b             phase
		goal             *goal
	}{
		{"p99 of Set, memory: + stuck watcher / draining", inMemory, 1, samples, draining, both(draining, stuck), ratioAtMost(1.05)},
		{"p99 of Set, memory: stuck watcher / nobody", inMemory, 1, samples, nobody, stuck, ratioAtMost(1.05)},
		// Not an effect of a stuck watcher: a draining one keeps a second processor awake, and a writer is faster
		// with it than with no watcher.
		{"p99 of Set, memory: stuck watcher / draining", inMemory, 1, samples, draining, stuck, nil},
		{"p99 of Set, memory: draining watcher / nobody", inMemory, 1, samples, nobody, draining, nil},
		{"p99 of Set, durable, 16 writers: + stuck / draining", durable, 16, samples / 20, draining, both(draining, stuck), ratioAtMost(1.05)},
		{"p99 of Set, durable, 16 writers: stuck / nobody", durable, 16, samples / 20, nobody, stuck, ratioAtMost(1.05)},
	} {
		r, err := tails(c, contest.store, contest.writers, contest.samples, contest.a, contest.b)
		if err != nil {
			return nil, err
		}
		rows = append(rows, compared(contest.name, "ns", r[1], r[0], contest.goal))
	}
	return rows, nil
}

// tails runs both phases in turn on one store and returns the 99th percentile of the time of a Set for each phase and
// round.
func tails(c config, store *storage.Layered, writers, samples int, phases ...phase) (result [2][]float64, err error) {
	paths, data := lookups(c.objects), bodies()
	took := make([]float64, samples)
	begin := 0
	for round := range c.rounds + 1 {
		for turn := range phases {
			i := (turn + round) % len(phases)
			stop := phases[i](store)
			err := parallel(writers, samples, func(_, n int) error {
				at := begin + n
				start := time.Now()
				_, err := store.Set(paths[at%len(paths)], data[at%len(data)])
				took[n] = float64(time.Since(start))
				return err
			})
			stop()
			if err != nil {
				return result, err
			}
			begin += samples
			if round > 0 { // the first one is the warm-up
				result[i] = append(result[i], quantile(took, 0.99))
			}
		}
	}
	return result, nil
}
