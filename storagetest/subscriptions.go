package storagetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// TestSubscriptions writes to a database at random from several goroutines, while random subscribers start, lag, stop
// and resume, and while the database is restarted if it is Persistent. Then it checks everything that was delivered
// against the Guarantees. The choices depend only on the seed; the interleaving of the goroutines does not. A
// database without Subscribe is not tested.
func TestSubscriptions(t *testing.T, open func(t T) storage.Database, opts Options, seed uint64) {
	t.Helper()
	t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
		t.Helper()
		tolds, log := RecordSubscriptions(t, open, opts, seed)
		for _, g := range Guarantees() {
			t.Run(g.Name, func(t *testing.T) {
				t.Helper()
				g.hold(t, tolds, log)
			})
		}
	})
}

// hold checks all recorded subscriptions.
func (g Guarantee) hold(t T, tolds []*Told, log *Log) {
	t.Helper()
	for _, told := range tolds {
		g.Check(t, told, log)
	}
	if t.Failed() {
		t.Logf("%s: %s", g.Name, g.Demand)
	}
}

// RecordSubscriptions is TestSubscriptions without the check of the guarantees: it returns the recorded subscriptions
// and the log of all commits. The log is recorded by one subscriber to everything from the beginning. It is checked
// against the writers' records and the content of the database.
func RecordSubscriptions(t T, open func(t T) storage.Database, opts Options, seed uint64) ([]*Told, *Log) {
	t.Helper()
	r := &subscriptionRun{t: t, s: &subject{Options: opts, openDatabase: open}, seed: seed, log: &Log{}}
	r.written = map[string]string{}
	r.db = r.s.started(t, storage.Options{History: 500})
	if _, ok := subscriberOf(r.db); !ok {
		t.Logf("%T has no Subscribe: nothing is checked", r.db)
		return nil, r.log
	}
	runs := 1
	if opts.Persistent {
		runs = 3
	}
	for i := range runs {
		r.run(uint64(i))
		if t.Failed() {
			break
		}
		if i < runs-1 {
			r.db = r.s.startedAgain(t, r.db)
		}
	}
	r.describe()
	return r.tolds, r.log
}

// describe logs the amount of work.
func (r *subscriptionRun) describe() {
	r.t.Helper()
	notices, resumed, resets, caughtUp, lagged := 0, 0, 0, 0, 0
	for _, told := range r.tolds {
		notices += len(told.Notes)
		if told.Options.From > 0 {
			resumed++
		}
		for _, p := range told.parts() {
			if p.reset {
				resets++
			}
			if p.catchUp {
				caughtUp++
			}
		}
		if errors.Is(told.End, storage.ErrLagged) {
			lagged++
		}
	}
	r.t.Logf("%d changes; %d subscriptions, %d of them resumed, told %d notices, %d resets, %d times what changed; %d ended with ErrLagged",
		len(r.log.changes), len(r.tolds), resumed, notices, resets, caughtUp, lagged)
}

// subscriptionRun is the state of a TestSubscriptions.
type subscriptionRun struct {
	t    T
	s    *subject
	seed uint64
	db   storage.Database
	log  *Log

	// whole are the subscriptions that make up the log; the last one continues.
	whole *Told

	mu      sync.Mutex // guards the fields below
	tolds   []*Told
	written map[string]string // the path that each value was written to, by value
	batches [][]string        // the values of each batch
	values  int64
}

const (
	randomSubscribers = 6
	randomWriters     = 3
	randomChanges     = 300 // of each writer, in each run

	wholeBuffer = 1 << 20 // of the subscriber to everything
)

// run is the time from a start of the database to its Close.
func (r *subscriptionRun) run(number uint64) {
	r.t.Helper()
	subscribe, _ := subscriberOf(r.db)
	whole := storage.SubscribeOptions{Lag: storage.LagError, Buffer: wholeBuffer}
	if r.whole != nil {
		whole.From = r.whole.Revision
	}
	told, err := subscribe.record(context.Background(), "", whole)
	must(r.t, "Subscribe", err)
	var readers sync.WaitGroup
	readers.Go(func() { told.all(context.Background()) })
	var writing atomic.Bool
	writing.Store(true)
	for i := range uint64(randomSubscribers) {
		rng := rand.New(rand.NewPCG(r.seed, 1000*number+100+i))
		readers.Go(func() { r.subscribeAtRandom(subscribe, rng, &writing) })
	}
	r.s.together(r.t, randomWriters, func(i int) {
		r.writeAtRandom(rand.New(rand.NewPCG(r.seed, 1000*number+uint64(i))))
	})
	writing.Store(false)
	content := r.content()
	r.s.within(r.t, "Close", r.db.Close)
	r.s.within(r.t, "the subscriptions end", readers.Wait)
	r.takeLog(told, content)
}

// content returns the content of the database: revisions by path.
func (r *subscriptionRun) content() map[string]uint64 {
	r.t.Helper()
	keys, err := r.db.Keys()
	must(r.t, "Keys", err)
	content := make(map[string]uint64, len(keys))
	for _, path := range keys {
		content[path] = get(r.t, r.db, path).Revision
	}
	return content
}

// randomSegments are the segments of written and followed paths.
var randomSegments = []string{"a", "b", "ab", "c"}

func randomPath(rng *rand.Rand) string {
	path := randomSegments[rng.IntN(len(randomSegments))]
	if rng.IntN(4) > 0 {
		path += "/" + randomSegments[rng.IntN(len(randomSegments))]
	}
	return path
}

// randomPattern chooses one of few patterns, so all are used.
func randomPattern(rng *rand.Rand) string {
	patterns := []string{"", "", "*/*", "*/*", "a/*", "*/a", "a*/b*", "*", "b", "c/ab", "*/*b", "none/*"}
	return patterns[rng.IntN(len(patterns))]
}

// value returns a unique value and records its path.
func (r *subscriptionRun) value(path string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values++
	data := dataOf(r.values)
	r.written[string(data)] = path
	return data
}

// writeAtRandom makes changes of all kinds.
func (r *subscriptionRun) writeAtRandom(rng *rand.Rand) {
	for range randomChanges {
		r.s.beats.advance()
		if rng.IntN(20) == 0 {
			time.Sleep(time.Duration(rng.IntN(int(time.Millisecond)))) // gives subscribers a turn
		}
		path := randomPath(rng)
		var err error
		switch rng.IntN(12) {
		default:
			_, err = r.db.Set(path, r.value(path))
		case 0:
			data := r.value(path + "/*")
			_, err = r.db.Push(path+"/*", data)
		case 1, 2:
			err = r.db.Del(path)
		case 3:
			err = r.db.Del("a*/" + randomSegments[rng.IntN(4)])
		case 4:
			err = r.db.Del("*/*/1*") // pushed objects
		case 5, 6:
			err = r.writeBatch(rng)
		case 7:
			if rng.IntN(4) == 0 {
				r.db.Clear()
			}
		}
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			r.t.Errorf("a write failed: %v", err)
			return
		}
	}
}

// writeBatch makes several changes in one batch, if the database supports it.
func (r *subscriptionRun) writeBatch(rng *rand.Rand) error {
	batches, ok := r.db.(committer)
	if !ok {
		return nil
	}
	var batch storage.Batch
	var values []string
	for range 1 + rng.IntN(6) {
		path := randomPath(rng) + fmt.Sprintf("-%d", batch.Len())
		data := r.value(path)
		batch.Set(path, data)
		values = append(values, string(data))
	}
	_, err := batches.Commit(&batch)
	if errors.Is(err, storage.ErrBatchUnsupported) {
		err = nil
		r.unwritten(values)
	} else {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.batches = append(r.batches, values)
	}
	return err
}

// unwritten removes the records of values that were not written.
func (r *subscriptionRun) unwritten(values []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, value := range values {
		delete(r.written, value)
	}
}

// subscribeAtRandom is one subscriber with consecutive subscriptions until the database is closed.
func (r *subscriptionRun) subscribeAtRandom(subscribe subscriber, rng *rand.Rand, writing *atomic.Bool) {
	var before *Told
	for {
		pattern, opt := randomPattern(rng), storage.SubscribeOptions{Lag: storage.LagPolicy(rng.IntN(3)), Buffer: 1 + rng.IntN(30)}
		if rng.IntN(2) == 0 {
			opt.Buffer = 0
		}
		opt.CatchUp, opt.Order = rng.IntN(2) == 0, storage.StateOrder(rng.IntN(3))
		continued := false
		if before != nil && rng.IntN(4) > 0 && before.Revision > 0 {
			pattern, opt.From, continued = before.Pattern, before.Revision, true
			if earlier := before.Notes; rng.IntN(4) == 0 && len(earlier) > 0 {
				opt.From = earlier[rng.IntN(len(earlier))].Bookmark
				continued = false
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		told, err := subscribe.record(ctx, pattern, opt)
		if errors.Is(err, storage.ErrNotActive) {
			cancel()
			return
		}
		if err != nil {
			cancel()
			r.t.Errorf("Subscribe %q from %d: %v", pattern, opt.From, err)
			return
		}
		if continued {
			told.Before = before
		}
		r.readAtRandom(ctx, told, rng, writing)
		cancel()
		r.mu.Lock()
		r.tolds = append(r.tolds, told)
		r.mu.Unlock()
		before = told
		if errors.Is(told.End, storage.ErrNotActive) {
			return
		}
	}
}

// readAtRandom reads for a while, or to the end after the last write.
func (r *subscriptionRun) readAtRandom(ctx context.Context, told *Told, rng *rand.Rand, writing *atomic.Bool) {
	most := rng.IntN(50)
	slow := 1 + rng.IntN(100) // how rarely it sleeps; some fall behind
	for n := 0; told.End == nil && (n < most || !writing.Load()); n++ {
		r.s.beats.advance()
		// Without new notices it waits only until the writing ends.
		turn, end := ctx, func() {}
		if writing.Load() {
			turn, end = context.WithTimeout(ctx, time.Millisecond)
		}
		if told.End = told.next(turn); errors.Is(told.End, context.DeadlineExceeded) {
			told.End = nil
		}
		end()
		if rng.IntN(slow) == 0 {
			time.Sleep(time.Duration(rng.IntN(int(time.Millisecond))))
		}
	}
	told.close()
	switch {
	case told.End == nil, errors.Is(told.End, storage.ErrNotActive):
	case errors.Is(told.End, storage.ErrLagged) && told.Options.Lag == storage.LagError:
	default:
		r.t.Errorf("%v ended: %v", told, told.End)
	}
}

// takeLog adds what the subscriber to everything received in a run to the log, and checks it against the written
// values and the content of the database.
func (r *subscriptionRun) takeLog(told *Told, content map[string]uint64) {
	r.t.Helper()
	if !errors.Is(told.End, storage.ErrNotActive) {
		r.t.Fatalf("%v ended: %v", told, told.End)
	}
	parts := told.parts()
	if len(parts) != 1 || parts[0].live == nil || told.Options.From != 0 && !parts[0].reset && len(parts[0].missed) > 0 {
		r.t.Fatalf("%v: it begins anew, or tells of changes while the database was closed", told)
	}
	if p := parts[0]; p.reset || len(p.state) > 0 {
		state := map[string]uint64{}
		for _, n := range p.state {
			state[n.Path] = n.Revision
		}
		if want := r.log.content("", p.live.Revision); !maps.Equal(state, want) {
			r.t.Errorf("%v: after a restart its state is %v, want %v", told, state, want)
		}
	}
	for _, n := range parts[0].changes {
		r.log.add(n.Notice)
	}
	r.whole = told
	if got := r.log.content("", told.Revision); !maps.Equal(got, content) {
		r.t.Errorf("the changes that were told make %v, the database holds %v", got, content)
	}
	r.checkLog()
}

// checkLog checks that the log has every write once, and complete batches.
func (r *subscriptionRun) checkLog() {
	r.t.Helper()
	at := map[string]int{}
	for i, n := range r.log.changes {
		if n.Kind != storage.NoticeSet {
			continue
		}
		data := string(n.Object.Data)
		pattern, known := r.written[data]
		if _, twice := at[data]; twice || !known || !match(pattern, n.Path) {
			r.t.Errorf("%s: it was written to %q, and is told twice: %v", showNotice(n), pattern, twice)
			return
		}
		at[data] = i
	}
	if len(at) != len(r.written) {
		r.t.Errorf("%d values were written, %d were told", len(r.written), len(at))
		return
	}
	for _, batch := range r.batches {
		for i, value := range batch {
			n := r.log.changes[at[value]]
			if at[value] != at[batch[0]]+i || n.More != (i < len(batch)-1) {
				r.t.Errorf("the part %d of a batch of %d is told at %d, the first at %d: %s", i, len(batch), at[value], at[batch[0]], showNotice(n))
				return
			}
		}
	}
	revisions := make([]uint64, len(r.log.changes))
	for i, n := range r.log.changes {
		revisions[i] = n.Revision
	}
	if !slices.IsSorted(revisions) {
		r.t.Errorf("what was committed is not told in the order of revisions")
	}
}
