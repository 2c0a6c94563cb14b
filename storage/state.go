package storage

import (
	"slices"
	"strings"
	"time"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// state is the content of a pattern at one revision, for a Snapshot or the beginning of a subscription. One goroutine
// at a time uses it.
type state struct {
	pattern string
	rules   rules
	ages    bool     // run.ages
	begin   uint64   // the revision that the run began at
	now     int64    // when it was taken, in Unix nanoseconds: what was expired then is left out
	hide    []string // patterns to leave out
	// kept means that Expires is as the persistent layer stores it, without retention rules.
	kept bool
	// object is the last result of next, if kept.
	object meta.Object
	own    map[string]int64 // if kept, from memory, with rules: the own ends of objects that have one

	// lists are the remaining objects of a state from memory, one list for each directory.
	lists   [][]*pathtree.Version
	matched bool // lists hold only matches
	sorted  bool // lists are in order of directories but still have to be sorted by index
	// order and limit are those of a state. arranged is set once arrange is done.
	order    StateOrder
	limit    int
	arranged bool
	gathered []gathered // from a layer, in order
	// unnumbered means that the layer held the last result of next without a revision.
	unnumbered bool

	// What follows is a snapshot of a layer; pull is nil for a state from memory.
	first    *meta.Object // of pull
	pull     func() (meta.Object, error, bool)
	stopPull func()
}

// stateOf takes the content of a pattern, "" for everything, at an instant of the pipeline. From memory it costs a
// pointer for each object, and matching happens after the instant. From a layer that scans it costs the beginning of
// the scan. With broadcast, for a subscription, objects are as reads return them. With an order, arrange must run
// before next.
func (r *run) stateOf(pattern string, order StateOrder, limit int, broadcast bool) (*state, error) {
	s := &state{
		pattern: pattern, rules: r.options.Retention, ages: r.ages, begin: r.pipeline.first, now: time.Now().UnixNano(),
		kept: !broadcast, order: order, limit: limit, arranged: order == OrderNone,
	}
	if broadcast {
		s.hide = r.options.NoBroadcastKeys
	}
	if err := r.view.collect(s); err != nil {
		return nil, err
	}
	return s, nil
}

// ends returns the end of the own time to live of each object in lists that has one. It looks at all expiring objects
// or at the lists, whichever is smaller.
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

// match reduces a state from memory to the objects that match its pattern. It runs first after writers continue.
func (s *state) match() {
	if !s.matched {
		s.lists, s.matched = pathtree.Match(s.lists, s.pattern), true
	}
}

// sort puts a state from memory into the order of a scan of a layer.
func (s *state) sort() {
	s.match()
	slices.SortFunc(s.lists, func(a, b []*pathtree.Version) int {
		return strings.Compare(key.Parent(a[0].Path()), key.Parent(b[0].Path()))
	})
	s.sorted = true
	s.sortList()
}

// sortList sorts the next list.
func (s *state) sortList() {
	if s.sorted && len(s.lists) > 0 {
		// Indexes of pushes are already in order, so this is one pass.
		slices.SortFunc(s.lists[0], func(a, b *pathtree.Version) int { return strings.Compare(a.Index(), b.Index()) })
	}
}

// next returns the next object, nil at the end.
func (s *state) next() (*meta.Object, error) {
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

// nextShown returns the next object that is neither expired nor hidden, ready for delivery; nil at the end.
func (s *state) nextShown() (*meta.Object, error) {
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

// read returns the next object, expired or not, as stored in memory or in the layer.
func (s *state) read() (*meta.Object, error) {
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

// readList takes the next object out of the lists and releases it there.
func (s *state) readList() *meta.Object {
	s.match()
	if len(s.lists) == 0 {
		return nil
	}
	list := s.lists[0]
	obj := &s.object
	if !s.kept {
		obj = new(meta.Object) // a subscriber may keep it
	}
	list[0].CopyTo(obj)
	list[0] = nil
	if s.lists[0] = list[1:]; len(list) == 1 {
		s.lists = s.lists[1:]
		s.sortList()
	}
	return obj
}

// close releases everything that the state holds. It accepts nil.
func (s *state) close() {
	if s == nil {
		return
	}
	s.lists, s.gathered = nil, nil
	if s.stopPull != nil {
		s.stopPull()
	}
}
