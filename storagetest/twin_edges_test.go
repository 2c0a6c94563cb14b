package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/monotonic"
	"github.com/oolith-db/oolith/storage"
)

// startOver starts a store over a layer.
func startOver(t *testing.T, layer storage.EmbeddedLayer, opt storage.Options) *storage.Layered {
	t.Helper()
	s := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer})
	must(t, "Start", s.Start(opt))
	t.Cleanup(s.Close)
	return s
}

// Times that a caller gave raise no node's clock, whatever becomes of the object.
func TestSharedTimesOfCallers(t *testing.T) {
	c := startNodes(t, 2, storage.Options{})
	a, b := c.stores[0], c.stores[1]
	far := time.Now().Add(100 * 365 * 24 * time.Hour).UnixNano()
	must(t, "SetWithMeta", second(a.SetWithMeta("k/1", json.RawMessage(`1`), far, far)))
	must(t, "Touch", second(a.Touch("k/1", time.Hour)))
	must(t, "SetWithMeta", second(a.SetWithMeta("k/2", json.RawMessage(`1`), far, 0)))
	must(t, "Set", second(a.Set("k/2", json.RawMessage(`2`))))
	barrier(t, b)
	if now := monotonic.Now(); now >= far {
		t.Errorf("the clock of the process is at %v, by the times of an object", time.Unix(0, now))
	}
}

func second[V any](_ V, err error) error { return err }

// readOnlyNode is a node that is opened to read only.
type readOnlyNode struct{ *TwinNode }

func (readOnlyNode) ReadOnly() bool { return true }

// A node that only reads leaves lists as they are, also those that are too long by its own rules.
func TestSharedReadOnlyWithLimits(t *testing.T) {
	twin := new(Twin)
	s := startOver(t, twin.Node(), storage.Options{})
	for range 3 {
		must(t, "Push", second(s.Push("log/*", json.RawMessage(`1`))))
	}
	reader := startOver(t, readOnlyNode{twin.Node()}, storage.Options{Retention: []storage.Retention{{Pattern: "log/*", Count: 1}}})
	if n, err := reader.Count("log/*"); err != nil || n != 3 {
		t.Errorf("Count = %d, %v, want 3", n, err)
	}
	if _, err := reader.Push("log/*", json.RawMessage(`1`)); !errors.Is(err, storage.ErrReadOnly) {
		t.Errorf("Push: %v, want ErrReadOnly", err)
	}
}

// laterNode is a node whose engine counts what no store has, too: its places are later than the last change.
type laterNode struct{ *TwinNode }

func (n laterNode) Barrier(ctx context.Context) (uint64, error) {
	revision, err := n.TwinNode.Barrier(ctx)
	return revision | (1<<twinShift - 1), err
}

func (n laterNode) Mirror(ctx context.Context) (uint64, iter.Seq2[meta.Object, error], error) {
	revision, objects, err := n.TwinNode.Mirror(ctx)
	return revision | (1<<twinShift - 1), objects, err
}

// advance makes a later place in the order, without changes.
func (t *Twin) advance() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revision |= 1<<twinShift - 1
	t.log = append(t.log, storage.SharedCommit{Revision: t.revision})
	t.moveLocked()
	return t.revision
}

// A subscription goes on at another node, also where the first one began later than the last change.
func TestSharedResumeFromLaterNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twin := new(Twin)
		a := startOver(t, twin.Node(), storage.Options{})
		must(t, "Set", second(a.Set("k/1", json.RawMessage(`1`))))
		late := startOver(t, laterNode{twin.Node()}, storage.Options{})
		sub, err := late.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{})
		must(t, "Subscribe", err)
		wantNotices(t, sub, "state k/1", "live ")
		from := sub.Revision()
		sub.Close()
		must(t, "a write of another node", second(late.Set("other", json.RawMessage(`1`))))
		at := twin.advance()
		synctest.Wait()
		for name, s := range map[string]*storage.Layered{"it": late, "another one": a} {
			again, err := s.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{From: max(from, at)})
			if err != nil {
				t.Fatalf("Subscribe to %s from %d, the store is at %d: %v", name, at, s.Revision(), err)
			}
			again.Close()
		}
		moved, err := a.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{From: at})
		must(t, "Subscribe on the other node", err)
		defer moved.Close()
		must(t, "Set", second(a.Set("k/2", json.RawMessage(`1`))))
		wantNotices(t, moved, "live ", "set k/2")
	})
}

// panicNode is a node that panics once it has proposed, when it is told to.
type panicNode struct {
	*TwinNode
	panics bool
}

func (n *panicNode) Propose(ctx context.Context, p *storage.SharedTransaction) (uint64, error) {
	first, err := n.TwinNode.Propose(ctx, p)
	if n.panics {
		panic("of the layer")
	}
	return first, err
}

// After a panic of Propose nobody knows the outcome: no more writes are taken, and no answer says that nothing was written.
func TestSharedProposePanics(t *testing.T) {
	layer := &panicNode{TwinNode: new(Twin).Node()}
	s := startOver(t, layer, storage.Options{})
	must(t, "Set", second(s.Set("k", json.RawMessage(`1`))))
	layer.panics = true
	for what, write := range map[string]func() error{
		"Set": func() error { return second(s.Set("k", json.RawMessage(`2`))) },
		"Del": func() error { return s.Del("*") },
	} {
		if err := write(); !errors.Is(err, storage.ErrWritesStopped) || errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrWritesStopped", what, err)
		}
	}
	s.Close()
}

// narrowNode is a node that takes few changes at once, and says so in its limits or not.
type narrowNode struct {
	*TwinNode
	most   int
	limits storage.SharedLimits
}

func (n *narrowNode) Limits() storage.SharedLimits { return n.limits }

func (n *narrowNode) Propose(ctx context.Context, p *storage.SharedTransaction) (uint64, error) {
	if len(p.Changes) > n.most {
		return 0, &storage.EntryError{Index: -1, Err: fmt.Errorf("%d changes, at most %d", len(p.Changes), n.most)}
	}
	return n.TwinNode.Propose(ctx, p)
}

// Writes that come together and are too much for one transaction are several: no single one is refused for it.
func TestSharedGroupTooLarge(t *testing.T) {
	for name, limits := range map[string]storage.SharedLimits{
		"unknown beforehand": {Changes: 1000, Bytes: 1 << 20},
		"known":              {Changes: 4, Bytes: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				twin := &Twin{Delay: func(int, string) { time.Sleep(time.Millisecond) }} // so that writes gather
				layer := &narrowNode{twin.Node(), 4, limits}
				s := startOver(t, layer, storage.Options{Retention: []storage.Retention{{Pattern: "log/*", Count: 2}}})
				var work sync.WaitGroup
				for i := range 40 {
					work.Go(func() {
						if i%2 == 0 {
							must(t, "Push", second(s.Push("log/*", json.RawMessage(`1`))))
						} else {
							must(t, "Set", second(s.Set(fmt.Sprintf("k/%d", i), json.RawMessage(`1`))))
						}
					})
				}
				work.Wait()
				if n, err := s.Count("k/*"); err != nil || n != 20 {
					t.Errorf("Count = %d, %v, want 20", n, err)
				}
				var batch storage.Batch
				for i := range 5 {
					batch.Set(fmt.Sprintf("b/%d", i), json.RawMessage(`1`))
				}
				if _, err := s.Commit(&batch); err == nil || errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "at most 4") {
					t.Errorf("Commit of what is too much: %v", err)
				}
			})
		})
	}
}

// brokenNode is a node that cannot read what comes next while something there is broken, nor the history that has it.
type brokenNode struct {
	*TwinNode
	mu     sync.Mutex
	broken bool   // what there is
	at     uint64 // where the history is
}

var errBrokenEntry = fmt.Errorf("the key %q: %w", "foreign", storage.ErrUndecodable)

func (n *brokenNode) state() (bool, uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.broken, n.at
}

func (n *brokenNode) Mirror(ctx context.Context) (uint64, iter.Seq2[meta.Object, error], error) {
	if broken, _ := n.state(); broken {
		return 0, func(yield func(meta.Object, error) bool) { yield(meta.Object{}, errBrokenEntry) }, nil
	}
	return n.TwinNode.Mirror(ctx)
}

func (n *brokenNode) Follow(ctx context.Context, revision uint64) iter.Seq2[storage.SharedCommit, error] {
	return func(yield func(storage.SharedCommit, error) bool) {
		for commit, err := range n.TwinNode.Follow(ctx, revision) {
			if _, at := n.state(); err == nil && at != 0 && commit.Revision >= at && revision < at {
				err = errBrokenEntry
			}
			if !yield(commit, err) || err != nil {
				return
			}
		}
	}
}

// What the follower cannot read stops it, with the key where an operator looks, until it is mended in the engine: the
// history has it for good.
func TestSharedUndecodable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twin := new(Twin)
		layer := &brokenNode{TwinNode: twin.Node()}
		s, other := startOver(t, layer, storage.Options{}), startOver(t, twin.Node(), storage.Options{})
		must(t, "Set", second(other.Set("k/1", json.RawMessage(`1`))))
		barrier(t, s)
		layer.mu.Lock()
		layer.broken, layer.at = true, twin.revision+1
		layer.mu.Unlock()
		must(t, "Set", second(other.Set("k/2", json.RawMessage(`1`))))
		time.Sleep(time.Minute)
		if err := s.Stats().Unavailable; !errors.Is(err, storage.ErrUndecodable) || !strings.Contains(fmt.Sprint(err), "foreign") {
			t.Errorf("Stats.Unavailable is %v, want the key", err)
		}
		wantData(t, s, "k/1", `1`)
		layer.mu.Lock()
		layer.broken = false
		layer.mu.Unlock()
		time.Sleep(time.Minute) // the follower looks less and less often
		wantData(t, s, "k/2", `1`)
		must(t, "Set once it is mended", second(s.Set("k/3", json.RawMessage(`1`))))
		if keys, err := s.Keys(); err != nil || !slices.Equal(keys, []string{"k/1", "k/2", "k/3"}) {
			t.Errorf("Keys = %v, %v", keys, err)
		}
	})
}

// A delete that removes nothing is told by nobody, and does not join what comes before it to what comes behind.
func TestSharedBatchEndsWithNothing(t *testing.T) {
	c := startNodes(t, 1, storage.Options{})
	sub, err := c.stores[0].Subscribe(t.Context(), "k/*", storage.SubscribeOptions{})
	must(t, "Subscribe", err)
	defer sub.Close()
	put := func(path string, more bool) storage.SharedChange {
		return storage.SharedChange{Key: path, Object: &meta.Object{Created: 1, Data: json.RawMessage(`1`)}, More: more}
	}
	c.mu.Lock()
	c.commitLocked([]storage.SharedChange{
		{Key: "k/none", Reason: storage.ReasonDeleted, More: true}, put("k/1", true), put("k/2", true), {Key: "k/none/2", Reason: storage.ReasonDeleted},
		put("k/3", false), put("k/4", true), put("k/5", false),
	})
	c.mu.Unlock()
	for _, want := range []string{"live  false", "set k/1 true", "set k/2 false", "set k/3 false", "set k/4 true", "set k/5 false"} {
		n, err := sub.Next(t.Context())
		must(t, "Next", err)
		if got := fmt.Sprint(n.Kind, " ", n.Path, " ", n.More); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
}

// backNode is a node whose engine can go back, as one does that is restored from a backup.
type backNode struct {
	*TwinNode
	back atomic.Bool
}

func (n *backNode) Barrier(ctx context.Context) (uint64, error) {
	revision, err := n.TwinNode.Barrier(ctx)
	if n.back.Load() {
		revision -= 1 << twinShift
	}
	return revision, err
}

// Follow waits, where the engine went back, for revisions that are not there again yet.
func (n *backNode) Follow(ctx context.Context, revision uint64) iter.Seq2[storage.SharedCommit, error] {
	return func(yield func(storage.SharedCommit, error) bool) {
		if !n.back.Load() {
			n.TwinNode.Follow(ctx, revision)(yield)
			return
		}
		<-ctx.Done()
		yield(storage.SharedCommit{}, ctx.Err())
	}
}

// An engine that went back is none that this store can go on with: it says so, and gives no answer out of what it has.
func TestSharedEngineWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := &backNode{TwinNode: new(Twin).Node()}
		s := startOver(t, layer, storage.Options{MaxStaleness: time.Minute})
		defer s.Close()
		for range 3 {
			must(t, "Set", second(s.Set("k", json.RawMessage(`1`))))
		}
		layer.back.Store(true)
		if err := s.Barrier(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Barrier: %v, want ErrUnavailable", err)
		}
		time.Sleep(2 * time.Minute)
		if err := s.Stats().Unavailable; err == nil || !strings.Contains(err.Error(), "restored") {
			t.Errorf("Stats.Unavailable is %v", err)
		}
		if _, err := s.Get("k"); !errors.Is(err, storage.ErrStale) {
			t.Errorf("Get: %v, want ErrStale", err)
		}
		if _, err := s.Set("k", json.RawMessage(`2`)); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Set: %v, want ErrUnavailable", err)
		}
	})
}

// An engine that comes back as an older one, while its followers wait for what may never come, is named as that: not as the loss before it.
func TestSharedEngineWentBackBehindALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := &backNode{TwinNode: new(Twin).Node()}
		s := startOver(t, layer, storage.Options{})
		defer s.Close()
		for range 3 {
			must(t, "Set", second(s.Set("k", json.RawMessage(`1`))))
		}
		layer.back.Store(true)
		layer.Cut() // ends Follow
		time.Sleep(time.Minute)
		if err := s.Stats().Unavailable; err == nil || strings.Contains(err.Error(), "restored") {
			t.Errorf("Stats.Unavailable without a connection is %v", err)
		}
		layer.Heal()
		time.Sleep(time.Minute)
		if err := s.Stats().Unavailable; err == nil || !strings.Contains(err.Error(), "restored") {
			t.Errorf("Stats.Unavailable is %v, want that it went back", err)
		}
	})
}

// stuckNode is a node whose barriers have no answer, when it is told to.
type stuckNode struct {
	*TwinNode
	stuck atomic.Bool
}

func (n *stuckNode) Barrier(ctx context.Context) (uint64, error) {
	if n.stuck.Load() {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return n.TwinNode.Barrier(ctx)
}

// Who waits for an answer of the engine is ended by a context and by Close.
func TestSharedWaitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := &stuckNode{TwinNode: new(Twin).Node()}
		s := startOver(t, layer, storage.Options{})
		must(t, "Set", second(s.Set("k", json.RawMessage(`1`))))
		layer.stuck.Store(true)
		calls := map[string]func(ctx context.Context) error{
			"Barrier": s.Barrier,
			"Subscribe from a later revision": func(ctx context.Context) error {
				return second(s.Subscribe(ctx, "k", storage.SubscribeOptions{From: 1 << 40}))
			},
		}
		for name, call := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s: %v, want its context's error", name, err)
			}
			cancel()
		}
		ended := make(chan error, 3)
		for _, call := range calls {
			go func() { ended <- call(context.Background()) }()
		}
		go func() { ended <- s.Del("absent") }() // it asks whether that is so
		synctest.Wait()
		s.Close()
		for range cap(ended) {
			if err := <-ended; !errors.Is(err, storage.ErrNotActive) {
				t.Errorf("a call that waits at Close: %v, want ErrNotActive", err)
			}
		}
	})
}

// openNode is a node that loses the outcome of a transaction for good.
type openNode struct {
	*TwinNode
	lost atomic.Bool
}

func (n *openNode) Propose(ctx context.Context, t *storage.SharedTransaction) (uint64, error) {
	first, err := n.TwinNode.Propose(ctx, t)
	if err == nil && n.lost.Load() {
		return 0, fmt.Errorf("%w: nobody knows what became of it", storage.ErrWritesStopped)
	}
	return first, err
}

// An outcome that nobody can find out stops the writes of its node until it is started again, and nothing else.
func TestSharedOutcomeIsOpen(t *testing.T) {
	twin := new(Twin)
	node := &openNode{TwinNode: twin.Node()}
	a, b := startOver(t, node, storage.Options{}), startOver(t, twin.Node(), storage.Options{})
	must(t, "Set", second(a.Set("k/1", json.RawMessage(`1`))))
	node.lost.Store(true)
	if _, err := a.Set("k/2", json.RawMessage(`1`)); !errors.Is(err, storage.ErrWritesStopped) || errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Set whose outcome is open: %v, want ErrWritesStopped alone", err)
	}
	node.lost.Store(false)
	for name, err := range map[string]error{"Set": second(a.Set("k/3", json.RawMessage(`1`))), "Del": a.Del("k/*"), "Truncate": a.Truncate()} {
		if !errors.Is(err, storage.ErrWritesStopped) {
			t.Errorf("%s behind it: %v, want ErrWritesStopped", name, err)
		}
	}
	if err := a.Stats().WritesStopped; err == nil || strings.Count(err.Error(), "writes are stopped") != 1 {
		t.Errorf("Stats.WritesStopped is %v, want the cause, once", err)
	}
	must(t, "Set of another node", second(b.Set("k/4", json.RawMessage(`1`))))
	barrier(t, a)
	if n, err := a.Count("k/*"); err != nil || n != 3 {
		t.Errorf("it counts %d, %v, want 3: what took place, and what the other node wrote", n, err)
	}
	a.Close()
	must(t, "Start", a.Start(storage.Options{}))
	must(t, "Set once it is started again", second(a.Set("k/5", json.RawMessage(`1`))))
}

// compactedNode is a node whose engine is compacted during the first readings of its content.
type compactedNode struct {
	*TwinNode
	left int
}

func (n *compactedNode) Mirror(ctx context.Context) (uint64, iter.Seq2[meta.Object, error], error) {
	revision, objects, err := n.TwinNode.Mirror(ctx)
	if n.left--; err != nil || n.left < 0 {
		return revision, objects, err
	}
	return revision, func(yield func(meta.Object, error) bool) {
		for obj := range objects {
			_ = yield(obj, nil) && yield(meta.Object{}, storage.ErrHistoryGone)
			return
		}
	}, nil
}

func TestSharedCompactedDuringStart(t *testing.T) {
	twin := new(Twin)
	must(t, "Set", second(startOver(t, twin.Node(), storage.Options{}).Set("k", json.RawMessage(`1`))))
	if n, err := startOver(t, &compactedNode{twin.Node(), 3}, storage.Options{}).Count("**"); err != nil || n != 1 {
		t.Errorf("%d objects, %v, want 1", n, err)
	}
	s := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: &compactedNode{twin.Node(), 1 << 20}})
	if err := s.Start(storage.Options{}); !errors.Is(err, storage.ErrHistoryGone) {
		t.Errorf("Start over an engine that never yields its content: %v", err)
	}
}
