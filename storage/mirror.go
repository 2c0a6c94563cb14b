package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/internal/watermark"
	"github.com/oolith-db/oolith/meta"
)

// A store over a SharedLayer. Its memory mirrors what several stores share.
//
// Data flows one way. Writers propose (mirror_propose.go), the engine orders, the follower applies and publishes
// (mirror_apply.go), and writers wake once their change is applied. Nothing else changes memory or publishes.

const (
	// barrierEvery is how often the mirror checks whether it is current.
	barrierEvery = 500 * time.Millisecond
	// barrierPatience is how long it waits for an answer.
	barrierPatience = time.Second
	// lostAfter is the minimum age of a mirror whose engine counts as lost because it does not answer.
	lostAfter = 3 * time.Second
	// followPause is the first pause of the follower before it tries again. The pause doubles up to followPauseMost.
	followPause     = 10 * time.Millisecond
	followPauseMost = time.Second
	// renewPauseMost replaces followPauseMost if the engine's content cannot be read, which an operator has to
	// repair.
	renewPauseMost = 5 * time.Second
	// mirrorAttempts is how often a start reads the content of an engine that is compacted meanwhile.
	mirrorAttempts = 10
	// closePatience is how long Close waits for proposals in progress.
	closePatience = 5 * time.Second
)

var errWentBack = errors.New("it went back")

// mirror is the shared side of a run.
type mirror struct {
	r      *run
	layer  SharedLayer
	ctx    context.Context // ends with the run
	cancel context.CancelFunc
	work   sync.WaitGroup // the follower, the age check, and calls about locks

	// turn is held while a transaction is applied and published, and by readers that must not see half of one: the
	// instants of the pipeline. It comes after the leadership of the pipeline and before the locks of a commit.
	turn sync.Mutex

	applied watermark.Watermark // the revision up to which everything is applied

	mu        sync.Mutex               // guards the fields below
	unlocking map[string]chan struct{} // locks being released among all nodes; the channel is closed afterwards
	follows   bool                     // the follower waits for what comes next
	closed    bool                     // work takes no more
	lost      error                    // why it did not when it was last needed; nil if it did

	// current is the last time, by run.clock, at which the mirror is known to have held all commits.
	current atomic.Int64
	changes atomic.Uint64 // applied so far
}

// openMirror fills memory from the shared layer and starts to follow it.
func (r *run) openMirror() error {
	layer := r.shared
	if r.memory == nil { // such a store always reads from its mirror
		r.memory, r.view = pathtree.New(), memoryView{r}
	}
	m := &mirror{r: r, layer: layer}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	var revision uint64
	err := ErrHistoryGone
	for i := 0; i < mirrorAttempts && errors.Is(err, ErrHistoryGone); i++ {
		var objects iter.Seq2[meta.Object, error]
		if revision, objects, err = layer.Mirror(m.ctx); err == nil {
			_, _, err = r.memory.Load(r.loading(objects), 0, nil)
		}
	}
	if err != nil {
		m.cancel()
		return fmt.Errorf("load: %w", err)
	}
	m.applied.Raise(revision)
	r.pipeline.begin(revision)
	r.feed.keepFrom(revision)
	m.current.Store(int64(r.clock()))
	r.mirror = m
	m.work.Go(m.follow)
	m.work.Go(m.watchAge)
	return nil
}

// close stops the mirror. The pipeline is closed.
func (m *mirror) close() {
	m.cancel()
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.work.Wait()
}

// begin counts a call of the layer. close waits for its work.Done.
func (m *mirror) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrNotActive
	}
	m.work.Add(1)
	return nil
}

// follow applies the order until the run ends.
func (m *mirror) follow() {
	pause := followPause
	for m.ctx.Err() == nil {
		began := m.applied.At()
		err := m.followOn()
		if m.ctx.Err() != nil {
			return
		}
		most := followPauseMost
		if unread := errors.Is(err, ErrUndecodable); unread || errors.Is(err, ErrHistoryGone) {
			if again := m.renew(); again != nil {
				err = again
			} else if m.applied.At() != began {
				continue
			}
			if unread {
				most = renewPauseMost // each attempt reads everything
			}
		}
		m.lose(err)
		if m.applied.At() != began {
			pause = followPause
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-m.ctx.Done():
			return
		}
		pause = min(2*pause, most)
	}
}

// followOn applies what the layer delivers, until the layer stops.
func (m *mirror) followOn() (err error) {
	defer panicAsError(&err)
	m.setFollows(true)
	defer m.setFollows(false)
	for commit, err := range m.layer.Follow(m.ctx, m.applied.At()) {
		if err != nil {
			return err
		}
		m.found()
		if err := m.take(commit); err != nil {
			return err
		}
	}
	return ErrUnavailable
}

// lose records that the follower has stopped following, and found records that it follows again.
func (m *mirror) lose(err error) {
	m.mu.Lock()
	first := m.lost == nil
	m.lost = err
	m.mu.Unlock()
	if first && m.ctx.Err() == nil {
		m.r.options.Logger.Warn("oolith: the shared engine is lost; reads go on with what is here", slog.Any("error", err))
	}
}

func (m *mirror) found() {
	m.mu.Lock()
	back := m.lost != nil && m.follows
	if back {
		m.lost = nil
	}
	m.mu.Unlock()
	if back {
		m.r.options.Logger.Info("oolith: the shared engine is back")
	}
}

func (m *mirror) setFollows(follows bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.follows = follows
}

func (m *mirror) lostBy() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

// reach returns when everything up to a revision is applied. It returns an error if the run or the context ends
// first.
func (m *mirror) reach(ctx context.Context, revision uint64) error {
	for {
		applied, moved := m.applied.Moved()
		if applied >= revision {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-m.ctx.Done():
			return ErrNotActive
		}
	}
}

// catchUp returns when everything that was in the order before the call is applied.
func (m *mirror) catchUp(ctx context.Context) error {
	began, applied := m.r.clock(), m.applied.At()
	revision, err := m.barrier(ctx)
	if err != nil {
		return err
	}
	if revision < applied {
		return fmt.Errorf("%w, %w, it is at revision %d, but this store was already at %d; if it was restored from a backup, close and start the store again",
			ErrUnavailable, errWentBack, revision, applied)
	}
	if err := m.reach(ctx, revision); err != nil {
		return err
	}
	m.noteCurrent(began)
	m.found()
	return nil
}

// catchUpFor is catchUp for a caller. The caller's context or Close ends it.
func (m *mirror) catchUpFor(caller context.Context) error {
	ctx, cancel := context.WithCancel(caller)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	err := m.catchUp(ctx)
	if err != nil && caller.Err() != nil {
		return caller.Err()
	}
	if err != nil {
		return m.unavailable(err)
	}
	return nil
}

func (m *mirror) barrier(ctx context.Context) (revision uint64, err error) {
	defer panicAsError(&err)
	return m.layer.Barrier(ctx)
}

// noteCurrent records that the mirror held all commits at a time.
func (m *mirror) noteCurrent(at time.Duration) {
	for {
		was := m.current.Load()
		if int64(at) <= was || m.current.CompareAndSwap(was, int64(at)) {
			return
		}
	}
}

// age is how long the mirror may have missed commits of other nodes.
func (m *mirror) age() time.Duration { return max(0, m.r.clock()-time.Duration(m.current.Load())) }

// watchAge repeatedly checks whether the mirror is current.
func (m *mirror) watchAge() {
	tick := time.NewTicker(barrierEvery)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(m.ctx, barrierPatience)
		// A single late answer is not a loss; it shows in the age. If the follower is lost, its own error is the
		// better one, unless the engine went back: then the follower waits for what may never come.
		if err := m.catchUp(ctx); err != nil && m.age() > lostAfter && (m.lostBy() == nil || errors.Is(err, errWentBack)) {
			m.lose(m.unavailable(err))
		}
		cancel()
		select {
		case <-tick.C:
		case <-m.ctx.Done():
			return
		}
	}
}

// checkAge returns an error for a read of data that is too old.
func (r *run) checkAge() error {
	m := r.mirror
	if m == nil || r.options.MaxStaleness <= 0 {
		return nil
	}
	if age := m.age(); age > r.options.MaxStaleness {
		return fmt.Errorf("%w, it may lack writes of the last %v", ErrStale, age.Round(time.Millisecond))
	}
	return nil
}

// Barrier returns when every later read of this store sees all commits made before the call, on any node of a
// SharedLayer. In any other store this always holds and Barrier returns immediately. It fails with ErrUnavailable if
// the engine cannot be reached.
func (l *Layered) Barrier(ctx context.Context) error {
	r, err := l.active()
	if err == nil {
		err = checkContext(ctx)
	}
	if err == nil && r.mirror != nil {
		err = r.mirror.catchUpFor(ctx)
	}
	if err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	return nil
}
