package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/all"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// The watch campaign compares what subscriptions deliver with what happened. A witness, which is never slow, records
// every change. Other subscriptions begin, lag, end and resume, across restarts of the store; each of their notices
// must be the one that the witness's record predicts:
//
//	ordered     revisions never go back
//	unique      no change is delivered twice
//	atomic      the changes of a batch or glob delete come together, or not at all
//	reliable    no change is missing, between a beginning and an end
//	resumable   a subscription that resumes with a revision gets what follows it, or a reset
//	bookmarked  NoticeLive and its state are the store at one revision

// account is a change as the witness received it.
type account struct {
	revision uint64
	path     string
	data     string // of the stored object; empty for a removal
	more     bool
	expires  int64
}

// witness records every change of a store's life.
type witness struct {
	notes []account
	// leftOut are the keys that its states left out, because they were expired and not removed yet: the witness is
	// not notified of their removal.
	leftOut map[string]bool
}

func (w *witness) watch(sub *storage.Subscription) error {
	everything := life{}
	missing := everything.fold(w.notes)
	for {
		n, err := sub.Next(context.Background())
		switch {
		case errors.Is(err, storage.ErrNotActive):
			return nil
		case err != nil:
			return fmt.Errorf("witness: %w", err)
		case n.Kind == storage.NoticeReset:
			return errors.New("the witness was reset")
		case n.Kind == storage.NoticeState:
			delete(missing, n.Path)
		case n.Kind == storage.NoticeLive:
			for path, was := range missing {
				if was.expires == 0 {
					return fmt.Errorf("witness: %s is lost over a restart", path)
				}
				w.leftOut[path] = true
			}
		case n.Kind == storage.NoticeSet || n.Kind == storage.NoticeDel:
			w.notes = append(w.notes, noted(n))
		}
	}
}

// saw reports whether the witness received a change.
func (w *witness) saw(n account) bool {
	return slices.ContainsFunc(w.notes, func(note account) bool { return sameBut(note, n) })
}

func noted(n storage.Notice) account {
	note := account{revision: n.Revision, path: n.Path, more: n.More}
	if n.Kind == storage.NoticeSet {
		note.data, note.expires = string(n.Object.Data), n.Object.Expires
	}
	return note
}

// life is everything that one subscription delivered.
type life struct {
	pattern string
	from    uint64
	lag     storage.LagPolicy
	notices []storage.Notice
}

func (l *life) matches(path string) bool { return l.pattern == "" || key.Match(l.pattern, path) }

// check compares a life with the witness's record.
func (l *life) check(w *witness) error {
	notes := w.notes
	next := behind(notes, l.from) // the position in notes of the next change
	state := map[string]string{}
	for path, n := range l.fold(notes[:next]) { // the content known before
		state[path] = n.data
	}
	collecting := l.from == 0
	stated := false // a state was delivered in this life
	for i, n := range l.notices {
		var wrong string
		switch {
		case n.Kind == storage.NoticeReset:
			state, collecting = map[string]string{}, true
		case n.Kind == storage.NoticeState:
			if _, twice := state[n.Path]; twice || !collecting {
				wrong = "unique: a state that nobody waits for, or a key twice in it"
			}
			state[n.Path] = string(n.Object.Data)
		case n.Kind == storage.NoticeLive:
			at := behind(notes, n.Revision)
			wrong = l.checkLive(notes[:at], next, state, collecting)
			stated = stated || collecting
			collecting, next = false, at
		case w.leftOut[n.Path] && n.Kind == storage.NoticeDel && !w.saw(noted(n)):
			// Delivered to resumed subscriptions, but not to the witness.
		default:
			next, wrong = l.checkChange(notes, next, n, state, stated)
			if delete(state, n.Path); n.Kind == storage.NoticeSet {
				state[n.Path] = string(n.Object.Data)
			}
		}
		if wrong != "" {
			return fmt.Errorf("%q, policy %d, from %d, notice %d, %v %s at %d: %s",
				l.pattern, l.lag, l.from, i, n.Kind, n.Path, n.Revision, wrong)
		}
	}
	return nil
}

// checkLive checks the end of a state, or of what a resumed subscription had missed.
func (l *life) checkLive(before []account, next int, state map[string]string, collecting bool) string {
	if collecting {
		want := l.fold(before)
		now := time.Now().UnixNano()
		for path, n := range want {
			// Objects that expired meanwhile may be hidden, and not removed yet.
			if data, there := state[path]; !there && (n.expires == 0 || n.expires > now) || there && data != n.data {
				return fmt.Sprintf("bookmarked: %s is %q in the state, the store held %+v", path, data, n)
			}
		}
		for path, data := range state {
			if _, there := want[path]; !there {
				return fmt.Sprintf("bookmarked: %s is %q in the state, the store held nothing", path, data)
			}
		}
		return ""
	}
	if missing := l.nextIn(before, next); missing >= 0 {
		return fmt.Sprintf("resumable: %+v is missing", before[missing])
	}
	return ""
}

// checkChange checks a change and returns the position after it. The removal of objects that the state had left out
// as expired may be delivered or not.
func (l *life) checkChange(notes []account, next int, n storage.Notice, known map[string]string, stated bool) (int, string) {
	got := noted(n)
	at := l.nextIn(notes, next)
	for ; at >= 0 && !sameBut(got, notes[at]); at = l.nextIn(notes, at+1) {
		want := notes[at]
		_, there := known[want.path]
		switch {
		case want.data == "" && stated && !there: // left out
		case want.data == "" && l.lag == storage.LagNewest && !there: // it was created and deleted meanwhile
		case l.lag == storage.LagNewest && superseded(notes, at):
			// It leaves out changes that a newer change of the same key follows, and so splits batches.
		default:
			return next, fmt.Sprintf("ordered, or reliable: want %+v", want)
		}
	}
	if at < 0 {
		return next, "unique: nothing is left to tell"
	}
	// More refers to the changes that the pattern matches.
	if more := l.nextIn(notes, at+1); l.lag != storage.LagNewest && got.more && (more < 0 || notes[more].revision > got.revision+1) {
		return next, "atomic: more of it is announced, and is not there"
	}
	return at + 1, ""
}

// sameBut compares two notices without their More.
func sameBut(a, b account) bool { a.more, b.more = false, false; return a == b }

// superseded reports whether a later change has the same key.
func superseded(notes []account, at int) bool {
	return slices.ContainsFunc(notes[at+1:], func(n account) bool { return n.path == notes[at].path })
}

// behind returns the position of the first change after a revision.
func behind(notes []account, revision uint64) int {
	at, _ := slices.BinarySearchFunc(notes, revision+1, func(n account, want uint64) int {
		if n.revision < want {
			return -1
		}
		return 1
	})
	return at
}

// nextIn returns the position of the next change that matches; -1 if there is none.
func (l *life) nextIn(notes []account, from int) int {
	for i := max(from, 0); i < len(notes); i++ {
		if l.matches(notes[i].path) {
			return i
		}
	}
	return -1
}

// fold returns the matching content after the changes.
func (l *life) fold(notes []account) map[string]account {
	content := map[string]account{}
	for _, n := range notes {
		switch {
		case !l.matches(n.path):
		case n.data == "":
			delete(content, n.path)
		default:
			content[n.path] = n
		}
	}
	return content
}

// watchRound runs writers and subscribers over some restarts of a store on a disk.
func watchRound(ctx context.Context, c config, t *tally) error {
	// There are no crashes here: without syncs there are more changes to watch.
	layer, err := engine.Open(fmt.Sprintf(engines[c.rng.IntN(len(engines))], c.dir)+"?sync=off", all.Engines()...)
	if err != nil {
		return err
	}
	config := storage.LayeredConfig{Embedded: layer}
	if mode := c.rng.IntN(4); mode > 0 {
		config.Memory = storage.NewMemoryLayer()
		config.MemoryOptions.SkipLoadMemory = mode == 1
		config.MemoryOptions.CacheBytes = 4 << 10 // makes objects enter and leave the cache
	}
	store := storage.New(config)
	w := &witness{leftOut: map[string]bool{}}
	ledgers := newLedgers(1 + c.rng.IntN(4))
	for run := range 3 {
		if ctx.Err() != nil {
			return nil
		}
		lives, err := watchedRun(c, store, w, ledgers, run)
		if err != nil {
			return fmt.Errorf("run %d: %w", run, err)
		}
		for _, l := range lives {
			t.add("subscriptions", 1)
			t.add("notices", len(l.notices))
			if err := l.check(w); err != nil {
				return fmt.Errorf("run %d: %w", run, err)
			}
		}
	}
	t.add("changes", len(w.notes))
	return nil
}

// watchedRun is a run of the store: it returns what the subscriptions delivered.
func watchedRun(c config, store *storage.Layered, w *witness, ledgers []*ledger, run int) (lives []life, err error) {
	options := quiet()
	options.History = 1 << (4 + c.rng.IntN(10))
	if err := store.Start(options); err != nil {
		return nil, err
	}
	sub, err := store.Subscribe(context.Background(), "", storage.SubscribeOptions{Buffer: 1 << 24})
	if err != nil {
		return nil, errors.Join(err, closing(store))
	}
	witnessed := make(chan error, 1)
	go func() { witnessed <- w.watch(sub) }()

	watching, stop := context.WithCancel(context.Background())
	var mu sync.Mutex // guards lives and errs
	var errs []error
	var group sync.WaitGroup
	for i := range 6 {
		r := rand.New(rand.NewPCG(c.seed, uint64(100*run+i)))
		group.Go(func() {
			own, err := subscribeOften(watching, store, r)
			mu.Lock()
			defer mu.Unlock()
			lives, errs = append(lives, own...), append(errs, err)
		})
	}
	err = write(context.Background(), store, ledgers, c.seed+uint64(run), 5000/len(ledgers))
	stop()
	group.Wait()
	store.Close()
	return lives, errors.Join(append(errs, err, <-witnessed)...)
}

func closing(store *storage.Layered) error { store.Close(); return nil }

// subscribeOften begins, lags, ends and resumes until the context ends.
func subscribeOften(ctx context.Context, store *storage.Layered, r *rand.Rand) (lives []life, err error) {
	patterns := []string{"", "*/a/*", "w0/*/*", "w1/b/*", "w0/a/k1", "*/*/k*"}
	var from uint64
	pattern := patterns[0]
	for ctx.Err() == nil {
		if from == 0 || r.IntN(3) == 0 {
			pattern, from = patterns[r.IntN(len(patterns))], 0
		}
		l := life{pattern: pattern, from: from, lag: storage.LagPolicy(r.IntN(2))}
		sub, err := store.Subscribe(ctx, pattern, storage.SubscribeOptions{From: from, Lag: l.lag, Buffer: 1 + r.IntN(200)})
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			return lives, err
		}
		slow := r.IntN(3) == 0
		for range r.IntN(300) {
			n, err := sub.Next(ctx)
			if err != nil {
				break // the context ended
			}
			l.notices = append(l.notices, n)
			if within := n.Kind == storage.NoticeReset || n.Kind == storage.NoticeState; within && sub.Revision() != 0 {
				sub.Close()
				return lives, fmt.Errorf("subscription to %q: Revision is %d within a state", pattern, sub.Revision())
			}
			if slow {
				time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
			}
		}
		from = sub.Revision()
		sub.Close()
		lives = append(lives, l)
	}
	return lives, nil
}
