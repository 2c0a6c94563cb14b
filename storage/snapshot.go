package storage

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Snapshot is what a store, or a part of it, held at one revision: across all directories, with
// all changes up to it and none behind. It costs what it holds (from memory, a pointer for each
// object, and the objects themselves once they are overwritten) until it is closed.
//
// All is for one goroutine at a time. The other methods may be called from any goroutine. The zero value is
// closed.
type Snapshot struct {
	gate     *readGate // of the run; nil for the zero value, which is closed
	pattern  string
	revision uint64

	mu    sync.Mutex      // guards the fields below; held while the persistent layer is read
	ctx   context.Context // ends the snapshot, as that of a subscription does; nil once there is nothing more
	state *snapshot
	err   error // why there is nothing more; nil while there may be
	ended bool  // all was yielded
}

// Snapshot takes a snapshot of what matches a pattern: a glob, a single path, or "" for everything.
// It has its place in the commit order like a write: no change is half in it. The
// caller closes it.
//
// In a store that has its objects in memory, writers wait while a pointer to each object
// is copied; where lists come from the persistent layer, while a scan of it begins, or, of a layer
// that is no Scanner, for as long as that takes to read everything. All the
// rest happens beside the writers.
//
// The context ends the snapshot, not only this call, which waits for its turn behind the commits under
// way. A store that takes no more writes and whose lists come from the persistent layer has no snapshot,
// but ErrWritesStopped: its layer may hold what no commit acknowledged.
func (l *Layered) Snapshot(ctx context.Context, pattern string) (*Snapshot, error) {
	s, err := l.takeSnapshot(ctx, pattern)
	if err != nil {
		return nil, failed("snapshot", pattern, err)
	}
	return s, nil
}

func (l *Layered) takeSnapshot(ctx context.Context, pattern string) (*Snapshot, error) {
	r, err := l.active()
	if err != nil {
		return nil, err
	}
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	if pattern != "" {
		if err := key.Check(pattern); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidPath, err)
		}
		r.beforeRead(pattern)
	}
	s := &Snapshot{gate: r.readGate, ctx: ctx, pattern: pattern}
	_, failure := r.commit(&write{op: opInstant, instant: func(revision uint64) {
		s.revision = revision
		if r.fromLayer() {
			if err = r.pipeline.cause(); err != nil {
				return
			}
		}
		s.state, err = r.snapshot(pattern, OrderNone, 0, false)
	}})
	if failure != nil {
		return nil, failure
	}
	if err != nil {
		return nil, err
	}
	s.state.sort()
	return s, nil
}

// Revision returns the place of the snapshot in the commit order: that of the last change in it.
func (s *Snapshot) Revision() uint64 { return s.revision }

// All returns the objects in the order of (Parent, Index), both compared as bytes, each with the
// revision of its last change. Expires is the end of its own time to live, as a persistent layer keeps it: what
// Options.Retention adds, which may be something else tomorrow, is left out. Their Data is shared and
// read-only. A loop that is left early can be taken up by another one, which goes on behind it.
//
// An error ends the loop, and comes last: that of the persistent layer, the context's, ErrNotActive
// after a Close of the store, ErrSnapshotClosed after Close. The loop's body may call the store, and close it.
func (s *Snapshot) All() iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		for {
			obj, err := s.next()
			if err != nil {
				yield(meta.Object{}, failed("snapshot", s.pattern, err))
				return
			}
			if obj == nil || !yield(*obj, nil) {
				return
			}
		}
	}
}

// next returns the next object, nil at the end.
func (s *Snapshot) next() (*meta.Object, error) {
	if s.gate == nil {
		return nil, ErrSnapshotClosed
	}
	s.mu.Lock()
	ctx := s.ctx
	s.mu.Unlock()
	var over error
	if ctx != nil {
		over = ctx.Err() // the caller's code: under no lock
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case s.ended:
		return nil, nil
	}
	obj, err := (*meta.Object)(nil), over
	if err == nil {
		obj, err = s.readLocked()
	}
	if err != nil {
		s.endLocked(err)
		return nil, err
	}
	if s.ended = obj == nil; s.ended {
		s.letGoLocked()
	}
	return obj, nil
}

func (s *Snapshot) readLocked() (*meta.Object, error) {
	s.gate.calls.RLock()
	defer s.gate.calls.RUnlock()
	if s.gate.closed {
		return nil, ErrNotActive
	}
	return s.state.next()
}

// Close lets go of all that the snapshot holds. It may be called any number of times.
func (s *Snapshot) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(ErrSnapshotClosed)
}

// endLocked ends the snapshot for a reason.
func (s *Snapshot) endLocked(err error) {
	if s.err == nil {
		s.err = err
		s.letGoLocked()
	}
}

// letGoLocked lets go of all that the snapshot holds.
func (s *Snapshot) letGoLocked() {
	s.state.close()
	s.state, s.ctx = nil, nil
}

// snapshot is the content of a pattern at one revision. One goroutine at a time uses it.
type snapshot struct {
	rules rules
	ages  bool     // run.ages
	begin uint64   // the revision that the run began at
	now   int64    // when it was taken, in Unix nanoseconds: what was expired then is left out
	hide  []string // patterns of what is left out
	// kept says that Expires is to be as a persistent layer keeps it: without what rules add.
	kept bool
	// object is what next returned, if kept.
	object meta.Object
	own    map[string]int64 // kept, from memory, with rules: those of the objects that have one

	// lists are what is left of a snapshot of memory, a list for each directory.
	lists   [][]*pathtree.Version
	pattern string // of lists
	matched bool   // lists hold what matches it, and nothing else
	sorted  bool   // lists are in the order of directories, and are to be in that of indexes
	// order and limit are those of a state, once arrange did its work, which arranged says.
	order    StateOrder
	limit    int
	arranged bool
	gathered []gathered // from a layer, in order
	// unnumbered says that the layer held the object that next returned without a revision.
	unnumbered bool

	// What follows is a snapshot of a layer; pull is nil for one of memory.
	first    *meta.Object // of pull
	pull     func() (meta.Object, error, bool)
	stopPull func()
}

// snapshot takes the content of a pattern, "" for everything, in an instant of the pipeline.
// From memory it costs a pointer for each object, which are matched behind the instant; from a layer that
// scans, the beginning of the scan. For a
// subscription, which is what broadcast says, objects are as reads return them. In an order, with or without a limit,
// they come behind arrange.
func (r *run) snapshot(pattern string, order StateOrder, limit int, broadcast bool) (*snapshot, error) {
	s := &snapshot{
		rules: r.options.Retention, ages: r.ages, begin: r.pipeline.first, now: time.Now().UnixNano(), kept: !broadcast,
		order: order, limit: limit, arranged: order == OrderNone,
	}
	if broadcast {
		s.hide = r.options.NoBroadcastKeys
	}
	if !r.fromLayer() {
		if s.pattern = pattern; s.collectFirst(r.memory) {
			return s, nil
		}
		s.lists = r.memory.Collect(pattern)
		if s.kept && r.ages {
			s.own = r.expirer.ends(s.lists)
		}
		return s, nil
	}
	s.pull, s.stopPull = iter.Pull2(Scan(r.layer, pattern))
	obj, err, ok := s.pull() // the snapshot of the layer is taken here
	if err != nil {
		s.stopPull()
		return nil, fmt.Errorf("persistent layer: %w", err)
	}
	if ok {
		s.first = &obj
	}
	return s, nil
}

// ends returns the end of the own time to live of each object that has one, of those in lists at least. It looks at all
// that expire or at the lists, whichever are fewer.
func (e *expirer) ends(lists [][]*pathtree.Version) map[string]int64 {
	listed := 0
	for _, list := range lists {
		listed += len(list)
	}
	ends := make(map[string]int64)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.byPath) <= listed {
		for path, d := range e.byPath {
			if d.own != 0 {
				ends[path] = d.own
			}
		}
		return ends
	}
	for _, list := range lists {
		for _, n := range list {
			if d := e.byPath[n.Path()]; d != nil && d.own != 0 {
				ends[n.Path()] = d.own
			}
		}
	}
	return ends
}

// match leaves of a snapshot of memory what matches its pattern. It is the first that is done once the writers go on.
func (s *snapshot) match() {
	if !s.matched {
		s.lists, s.matched = pathtree.Match(s.lists, s.pattern), true
	}
}

// sort brings a snapshot of memory into the order that a scan of a layer has.
func (s *snapshot) sort() {
	s.match()
	slices.SortFunc(s.lists, func(a, b []*pathtree.Version) int {
		return strings.Compare(key.Parent(a[0].Path()), key.Parent(b[0].Path()))
	})
	s.sorted = true
	s.sortList()
}

// sortList sorts the list that comes next.
func (s *snapshot) sortList() {
	if s.sorted && len(s.lists) > 0 {
		// Where indexes come from pushes, the order is there already, and this is one pass.
		slices.SortFunc(s.lists[0], func(a, b *pathtree.Version) int { return strings.Compare(a.Index(), b.Index()) })
	}
}

// next returns the next object, nil at the end.
func (s *snapshot) next() (*meta.Object, error) {
	var obj *meta.Object
	var err error
	if s.pull != nil && s.order != OrderNone {
		obj = s.nextGathered()
	} else {
		obj, err = s.nextShown()
	}
	if obj == nil {
		s.close()
	}
	return obj, err
}

// nextShown returns the next object that is neither expired nor hidden, as it is to be told; nil at the end.
func (s *snapshot) nextShown() (*meta.Object, error) {
	for {
		obj, err := s.read()
		if obj == nil || err != nil {
			return nil, err
		}
		own := obj.Expires
		switch {
		case s.pull != nil:
			s.unnumbered = obj.Revision == 0
			obj.Revision, obj.Expires = revisionOf(obj, s.begin), s.rules.expiryOf(obj)
		case s.kept && s.ages:
			own = s.own[obj.Path]
		}
		if obj.Expired(s.now) || key.Contains(s.hide, obj.Path) {
			continue
		}
		if s.kept {
			obj.Expires = own
		}
		return obj, nil
	}
}

// read returns the next object, expired or not, as it is in memory or in the layer.
func (s *snapshot) read() (*meta.Object, error) {
	if s.pull == nil {
		return s.readList(), nil
	}
	if obj := s.first; obj != nil {
		s.first = nil
		return obj, nil
	}
	obj, err, ok := s.pull()
	if err != nil || !ok {
		return nil, err
	}
	return &obj, nil
}

// readList takes the next object out of the lists, so that it is let go of once it was read.
func (s *snapshot) readList() *meta.Object {
	s.match()
	if len(s.lists) == 0 {
		return nil
	}
	list := s.lists[0]
	obj := &s.object
	if !s.kept {
		obj = new(meta.Object) // a subscriber may keep it
	}
	*obj = list[0].Object()
	list[0] = nil
	if s.lists[0] = list[1:]; len(list) == 1 {
		s.lists = s.lists[1:]
		s.sortList()
	}
	return obj
}

// close lets go of what the snapshot holds. A nil one holds nothing.
func (s *snapshot) close() {
	if s == nil {
		return
	}
	s.lists, s.gathered = nil, nil
	if s.stopPull != nil {
		s.stopPull()
	}
}
