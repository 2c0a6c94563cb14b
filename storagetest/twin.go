package storagetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Twin is a shared engine in memory, in one process. It replaces a distributed engine in tests of a store over a
// storage.SharedLayer. Node makes a layer for each store. The zero value is empty and ready to use.
//
// Its methods simulate the failures of a distributed engine: unreachable nodes, lost answers and compacted history.
type Twin struct {
	// Delay is called before each step of a node, unless it is nil: "propose", "answer", "deliver", "barrier". It may
	// wait.
	Delay func(node int, step string)

	mu       sync.Mutex // guards the fields below
	id       uint64
	objects  map[string]meta.Object
	revision uint64 // of the last change
	number   uint64 // of the last transaction
	log      []storage.SharedCommit
	floor    uint64        // the revision after which the log begins
	moved    chan struct{} // closed when anything changes
	nodes    []*TwinNode
	locks    map[string][]*twinLock // by path, the holder first
}

// twinShift is how many bits of a revision hold the index within a transaction.
const twinShift = 12

// TwinNode is the layer of one store over a Twin. It implements storage.SharedLayer, storage.Scanner and
// storage.Identified.
type TwinNode struct {
	twin *Twin
	// twin.mu guards the fields below.
	number  int
	started bool
	cut     bool // disconnected from the engine
	deaf    bool // answers are lost until the node is healed
}

var (
	_ storage.SharedLayer = (*TwinNode)(nil)
	_ storage.Scanner     = (*TwinNode)(nil)
	_ storage.Identified  = (*TwinNode)(nil)
)

// Node returns the layer of another store.
func (t *Twin) Node() *TwinNode {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.id == 0 {
		t.id, t.objects, t.moved = rand.Uint64()|1, make(map[string]meta.Object), make(chan struct{})
	}
	n := &TwinNode{twin: t, number: len(t.nodes)}
	t.nodes = append(t.nodes, n)
	return n
}

// Compact drops the history up to now.
func (t *Twin) Compact() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log, t.floor = nil, t.revision
	t.moveLocked()
}

// Put writes an object at a path without a store.
func (t *Twin) Put(obj meta.Object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.commitLocked([]storage.SharedChange{{Key: obj.Path, Object: &obj}})
}

// moveLocked wakes all waiting calls.
func (t *Twin) moveLocked() {
	close(t.moved)
	t.moved = make(chan struct{})
}

// Cut disconnects the node. LoseAnswers lets its proposals take their positions in the order, but loses the answers.
// Heal ends both.
func (n *TwinNode) Cut()         { n.set(func() { n.cut = true }) }
func (n *TwinNode) LoseAnswers() { n.set(func() { n.deaf = true }) }
func (n *TwinNode) Heal()        { n.set(func() { n.cut, n.deaf = false, false }) }

func (n *TwinNode) set(change func()) {
	n.twin.mu.Lock()
	defer n.twin.mu.Unlock()
	change()
	n.twin.moveLocked()
}

func (n *TwinNode) delay(step string) {
	if n.twin.Delay != nil {
		n.twin.Delay(n.number, step)
	}
}

// reachLocked returns why the engine is unreachable, or nil.
func (n *TwinNode) reachLocked() error {
	switch {
	case !n.started:
		return storage.ErrNotActive
	case n.cut:
		return storage.ErrUnavailable
	}
	return nil
}

// Elected reports whether the node is the first connected one.
func (n *TwinNode) Elected() bool {
	t := n.twin
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, other := range t.nodes {
		if other.reachLocked() == nil {
			return other == n
		}
	}
	return false
}

// twinLock is a lock of a node, or a position in the queue for it.
type twinLock struct {
	node  *TwinNode
	path  string
	token uint64
}

// Acquire takes the lock of a path after earlier callers. The lock does not expire.
func (n *TwinNode) Acquire(ctx context.Context, path string, _ time.Duration, wait bool) (storage.SharedLock, error) {
	t := n.twin
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := n.reachLocked(); err != nil {
		return nil, err
	}
	if len(t.locks[path]) > 0 && !wait {
		return nil, storage.ErrLocked
	}
	if t.locks == nil {
		t.locks = make(map[string][]*twinLock)
	}
	lock := &twinLock{node: n, path: path}
	t.locks[path] = append(t.locks[path], lock)
	for t.locks[path][0] != lock {
		moved := t.moved
		t.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		t.mu.Lock()
		if err := ctx.Err(); err != nil {
			t.unlockLocked(lock)
			return nil, err
		}
	}
	t.number++
	lock.token = t.number << twinShift
	return lock, nil
}

func (t *Twin) unlockLocked(lock *twinLock) (held bool) {
	queue := t.locks[lock.path]
	at := slices.Index(queue, lock)
	if at < 0 {
		return false
	}
	if t.locks[lock.path] = slices.Delete(queue, at, at+1); len(queue) == 1 {
		delete(t.locks, lock.path)
	}
	t.moveLocked()
	return true
}

// Break removes all locks, as an engine does when they expire because their holders cannot reach it.
func (t *Twin) Break() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.locks = nil
	t.moveLocked()
}

func (l *twinLock) Token() uint64 { return l.token }

func (l *twinLock) Renew(context.Context, time.Duration) error {
	t := l.node.twin
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := l.node.reachLocked(); err != nil {
		return err
	}
	if queue := t.locks[l.path]; len(queue) == 0 || queue[0] != l {
		return storage.ErrLeaseLost
	}
	return nil
}

func (l *twinLock) Release(context.Context) error {
	t := l.node.twin
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.unlockLocked(l) {
		return storage.ErrLeaseLost
	}
	return nil
}

// Limits returns the limits of a Twin.
func (n *TwinNode) Limits() storage.SharedLimits {
	return storage.SharedLimits{Changes: 1<<twinShift - 1, Bytes: twinLargest}
}

// Barrier returns the revision of the last change.
func (n *TwinNode) Barrier(ctx context.Context) (uint64, error) {
	n.delay("barrier")
	n.twin.mu.Lock()
	defer n.twin.mu.Unlock()
	return n.twin.revision, cmp.Or(ctx.Err(), n.reachLocked())
}

// Mirror yields a copy of all objects.
func (n *TwinNode) Mirror(ctx context.Context) (uint64, iter.Seq2[meta.Object, error], error) {
	n.twin.mu.Lock()
	defer n.twin.mu.Unlock()
	if err := cmp.Or(ctx.Err(), n.reachLocked()); err != nil {
		return 0, nil, err
	}
	return n.twin.revision, sequence(slices.Collect(maps.Values(n.twin.objects))), nil
}

func sequence(objects []meta.Object) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		for _, obj := range objects {
			if !yield(obj, nil) {
				return
			}
		}
	}
}

// Follow yields the log after a revision, and waits for more.
func (n *TwinNode) Follow(ctx context.Context, revision uint64) iter.Seq2[storage.SharedCommit, error] {
	return func(yield func(storage.SharedCommit, error) bool) {
		for {
			commit, err := n.next(ctx, revision)
			if err == nil {
				n.delay("deliver")
			}
			if !yield(commit, err) || err != nil {
				return
			}
			revision = commit.Revision
		}
	}
}

// next returns the transaction after a revision.
func (n *TwinNode) next(ctx context.Context, revision uint64) (storage.SharedCommit, error) {
	t := n.twin
	for {
		t.mu.Lock()
		err := cmp.Or(ctx.Err(), n.reachLocked())
		if err == nil && revision < t.floor {
			err = storage.ErrHistoryGone
		}
		at := 0
		if err == nil {
			at, _ = slices.BinarySearchFunc(t.log, revision+1, func(c storage.SharedCommit, r uint64) int { return cmp.Compare(c.Revision, r) })
		}
		if err != nil || at < len(t.log) {
			var commit storage.SharedCommit
			if err == nil {
				commit = t.log[at]
			}
			t.mu.Unlock()
			return commit, err
		}
		moved := t.moved
		t.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
	}
}

// Propose gives a transaction its position in the order. If the answer is lost, it waits until the node is healed,
// which reveals the outcome.
func (n *TwinNode) Propose(ctx context.Context, p *storage.SharedTransaction) (first uint64, err error) {
	n.delay("propose")
	t := n.twin
	t.mu.Lock()
	if err = cmp.Or(ctx.Err(), n.reachLocked()); err == nil {
		first, err = t.proposeLocked(p)
	}
	for n.deaf && ctx.Err() == nil {
		moved := t.moved
		t.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		t.mu.Lock()
	}
	t.mu.Unlock()
	n.delay("answer")
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return first, err
}

func (t *Twin) proposeLocked(p *storage.SharedTransaction) (first uint64, err error) {
	for _, g := range p.Guards {
		if !t.holdsLocked(g) {
			return 0, &storage.GuardError{Revision: t.revision, Lost: g.Lock}
		}
	}
	seen := make(map[string]bool, len(p.Changes))
	for i, c := range p.Changes {
		if seen[c.Key] {
			return 0, fmt.Errorf("storagetest: change %d: key %q comes twice in a transaction", i, c.Key)
		}
		seen[c.Key] = true
		if c.Object != nil && len(c.Object.Data) > twinLargest {
			return 0, &storage.EntryError{Index: i, Err: errors.New("larger than a mebibyte")}
		}
	}
	return t.commitLocked(p.Changes), nil
}

// twinLargest is the maximum number of bytes of data of an object in a Twin.
const twinLargest = 1 << 26

func (t *Twin) holdsLocked(g storage.Guard) bool {
	if lock, ok := g.Lock.(*twinLock); ok {
		queue := t.locks[lock.path]
		return len(queue) > 0 && queue[0] == lock
	}
	if !g.OfDirectory {
		return t.objects[g.Path].Revision == g.Revision
	}
	for path, obj := range t.objects {
		if key.Parent(path) == g.Directory && obj.Revision > g.Revision {
			return false
		}
	}
	return true
}

func (t *Twin) commitLocked(changes []storage.SharedChange) (first uint64) {
	t.number++
	first = t.number << twinShift
	changes = slices.Clone(changes)
	for i := range changes {
		c := &changes[i]
		c.Revision = first + uint64(i)
		switch {
		case c.Clear || c.Pattern != "":
			c.Gone = nil
			for path := range t.objects {
				if c.Clear || key.Match(c.Pattern, path) {
					c.Gone = append(c.Gone, path)
					delete(t.objects, path)
				}
			}
		case c.Object == nil:
			delete(t.objects, c.Key)
		default:
			obj := *c.Object
			obj.Path, obj.Index, obj.Revision = c.Key, key.LastIndex(c.Key), c.Revision
			obj.Data = slices.Clone(obj.Data)
			c.Object = &obj
			t.objects[c.Key] = obj
		}
	}
	t.revision = first + uint64(max(len(changes), 1)) - 1
	t.log = append(t.log, storage.SharedCommit{Revision: t.revision, Changes: changes})
	t.moveLocked()
	return first
}
