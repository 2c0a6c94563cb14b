package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oolith-db/oolith/key"
)

// loadPatterns are what subscribers follow while writers write a/0 to c/9 and d.
var loadPatterns = []string{"", "a/*", "*/1", "b/3", "*/*", "c*/*", "d", "none/*"}

// writeAtRandom makes changes of all kinds.
func writeAtRandom(t *testing.T, s *Layered, kind storeKind, r *rand.Rand, changes int) {
	path := func() string {
		if r.IntN(15) == 0 {
			return "d"
		}
		return fmt.Sprintf("%c/%d", 'a'+r.IntN(3), r.IntN(10))
	}
	for range changes {
		var err error
		switch n := r.IntN(100); {
		case n < 60:
			_, err = s.Set(path(), []byte("1"))
		case n < 75:
			err = s.Del(path())
		case n < 80:
			_, err = s.Push(fmt.Sprintf("%c/*", 'a'+r.IntN(3)), []byte("2"))
		case n < 90 && kind.batches:
			var b Batch
			for _, i := range r.Perm(10)[:1+r.IntN(5)] {
				b.Set(fmt.Sprintf("%c/%d", 'a'+r.IntN(3), i), []byte("3"))
			}
			_, err = s.Commit(&b)
		case n < 97:
			err = s.Del(fmt.Sprintf("%c/%d*", 'a'+r.IntN(3), r.IntN(10)))
		case n < 98:
			err = s.Truncate()
		default:
			_, err = s.SetWith(path(), []byte("4"), SetOptions{TTL: time.Duration(1 + r.IntN(int(3*time.Millisecond)))})
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("a change failed: %v", err)
			return
		}
	}
}

// toldHistory is what a subscriber was told from the beginning of its state on.
type toldHistory struct {
	pattern string
	live    uint64 // the revision of NoticeLive
	changes []Notice
	begun   map[string]bool // the paths of the state
	known   follower
}

// follow reads a subscription to the end of the store.
func (h *toldHistory) follow(t *testing.T, sub *Subscription) {
	defer sub.Close()
	h.begun = map[string]bool{}
	for n, err := range sub.All(context.Background()) {
		if err != nil {
			if !errors.Is(err, ErrNotActive) {
				t.Errorf("%q ends with %v", h.pattern, err)
			}
			return
		}
		if err := h.known.take(n); err != nil {
			t.Errorf("%q: %v", h.pattern, err)
		}
		switch n.Kind {
		case NoticeState:
			h.begun[n.Path] = true
		case NoticeLive:
			h.live = n.Revision
		case NoticeSet, NoticeDel:
			h.changes = append(h.changes, n)
		}
	}
}

// wantPartOf checks that what was told is, change for change, what the whole log has for the pattern
// behind the state.
func (h *toldHistory) wantPartOf(t *testing.T, log []Notice) {
	t.Helper()
	at := 0
	for _, n := range log {
		if n.Revision <= h.live || h.pattern != "" && !key.Match(h.pattern, n.Path) {
			continue
		}
		if n.Kind == NoticeDel && n.Object.Revision <= h.live && !h.begun[n.Path] {
			continue // it was expired, and so left out of the state
		}
		if at == len(h.changes) {
			t.Errorf("%q, live at %d: no %s of revision %d", h.pattern, h.live, noticeText(n), n.Revision)
			return
		}
		got := h.changes[at]
		if got.Kind != n.Kind || got.Path != n.Path || got.Revision != n.Revision || got.Object != n.Object {
			t.Errorf("%q, live at %d: %s of revision %d comes where %s of revision %d is expected",
				h.pattern, h.live, noticeText(got), got.Revision, noticeText(n), n.Revision)
			return
		}
		at++
	}
	if at < len(h.changes) {
		t.Errorf("%q: %d changes too many, the first %s", h.pattern, len(h.changes)-at, noticeText(h.changes[at]))
	}
}

// TestSubscribeDuringHeavyWrites subscribes again and again while writers write, and compares each
// subscription with the whole log, change by change, and with the content at the end.
func TestSubscribeDuringHeavyWrites(t *testing.T) {
	for _, kind := range storeKinds {
		t.Run(kind.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			before := runtime.NumGoroutine()
			s := New(kind.open())
			must(t, s.Start(Options{}))
			whole := &toldHistory{}
			histories := []*toldHistory{whole}
			var followers, writers sync.WaitGroup
			begin := func(h *toldHistory) {
				sub, err := s.Subscribe(context.Background(), h.pattern, SubscribeOptions{Buffer: 1 << 20})
				must(t, err)
				followers.Go(func() { h.follow(t, sub) })
			}
			begin(whole)
			var writing atomic.Int32
			for g := range 4 {
				writing.Add(1)
				writers.Go(func() {
					defer writing.Add(-1)
					writeAtRandom(t, s, kind, rand.New(rand.NewPCG(seed, uint64(g))), 600)
				})
			}
			for i := 0; writing.Load() > 0 && i < 60; i++ {
				h := &toldHistory{pattern: loadPatterns[i%len(loadPatterns)]}
				histories = append(histories, h)
				begin(h)
			}
			writers.Wait()
			eventually(t, "what expires is removed", func() bool {
				e := &s.run.Load().expirer
				e.mu.Lock()
				defer e.mu.Unlock()
				return len(e.due) == 0
			})
			set(t, s, "d", "5")
			finals := snapshotOf(t, s)
			s.Close()
			followers.Wait()
			for _, h := range histories {
				h.wantPartOf(t, whole.changes)
				want := maps.Clone(finals)
				maps.DeleteFunc(want, func(path string, _ uint64) bool { return h.pattern != "" && !key.Match(h.pattern, path) })
				if !maps.Equal(h.known.objects, want) {
					t.Errorf("%q, live at %d, ends with %v, the store with %v", h.pattern, h.live, h.known.objects, want)
				}
			}
			t.Logf("%d subscriptions, %d changes", len(histories), len(whole.changes))
			eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before })
		})
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	// It sleeps, so that time passes in a bubble of testing/synctest too.
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 seconds", what)
		}
	}
}

// snapshotOf returns the revisions of all objects by path.
func snapshotOf(t *testing.T, s *Layered) map[string]uint64 {
	t.Helper()
	snapshot, err := s.Snapshot(t.Context(), "")
	must(t, err)
	defer snapshot.Close()
	revisions := map[string]uint64{}
	for obj, err := range snapshot.All() {
		must(t, err)
		revisions[obj.Path] = obj.Revision
	}
	return revisions
}

// Subscribers come, lag, resume, go and are cut off while writers write and the store is closed and
// started: nothing hangs, no rule is broken, nothing is left.
func TestSubscriptionsUnderAllAtOnce(t *testing.T) {
	for _, kind := range storeKinds {
		t.Run(kind.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			before := runtime.NumGoroutine()
			s := New(kind.open(), Options{History: 200})
			must(t, s.Start(Options{}))
			var group sync.WaitGroup
			var done atomic.Bool
			for g := range 2 {
				r := rand.New(rand.NewPCG(seed, uint64(g)))
				group.Go(func() {
					for !done.Load() {
						if _, err := s.Set(fmt.Sprintf("a/%d", r.IntN(20)), []byte("1")); errors.Is(err, ErrNotActive) {
							runtime.Gosched()
						}
						if err := s.Del(fmt.Sprintf("a/%d*", r.IntN(20))); errors.Is(err, ErrNotActive) {
							runtime.Gosched()
						}
					}
				})
			}
			for g := range 4 {
				r := rand.New(rand.NewPCG(seed, uint64(100+g)))
				group.Go(func() {
					var from uint64
					for !done.Load() {
						from = liveALittle(t, s, r, from)
					}
				})
			}
			for range 4 {
				time.Sleep(15 * time.Millisecond)
				s.Close()
				must(t, s.Start(Options{}))
			}
			done.Store(true)
			group.Wait()
			if got := s.Stats().Subscriptions; got != 0 {
				t.Errorf("%d subscriptions are left", got)
			}
			s.Close()
			eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before })
		})
	}
}

// liveALittle is a subscription with random options, that is read for a while and ended in a random
// way. It returns a revision to resume from.
func liveALittle(t *testing.T, s *Layered, r *rand.Rand, from uint64) uint64 {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opt := SubscribeOptions{Lag: LagPolicy(r.IntN(3)), Buffer: 1 + r.IntN(50)}
	if r.IntN(2) == 0 {
		opt.From = from
	}
	sub, err := s.Subscribe(ctx, "a/*", opt)
	if errors.Is(err, ErrFutureRevision) || errors.Is(err, ErrNotActive) {
		runtime.Gosched()
		return 0
	}
	if err != nil {
		t.Errorf("Subscribe: %v", err)
		return 0
	}
	defer sub.Close()
	var known follower
	if opt.From != 0 {
		known.objects = map[string]uint64{} // of which it is not known what they are
	}
	for range r.IntN(200) {
		own, end := context.WithTimeout(ctx, time.Millisecond)
		n, err := sub.Next(own)
		end()
		if errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		if err != nil {
			if !errors.Is(err, ErrNotActive) && !errors.Is(err, ErrLagged) {
				t.Errorf("Next: %v", err)
			}
			break
		}
		if opt.From != 0 && n.Kind == NoticeDel {
			known.objects[n.Path] = 1
		}
		if err := known.take(n); err != nil && opt.Lag != LagNewest {
			t.Errorf("%+v: %v", opt, err)
			break
		}
		if r.IntN(50) == 0 {
			sideBySide(func() { sub.Revision() }, func() { sub.Lag() }, func() { s.Stats() })
		}
	}
	from = sub.Revision()
	switch r.IntN(3) {
	case 0:
		cancel()
	case 1:
		sideBySide(sub.Close, cancel, sub.Close)
	}
	return from
}
