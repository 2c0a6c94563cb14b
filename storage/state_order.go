package storage

import (
	"math"
	"slices"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// The states of subscriptions that are told in an order, with or without a limit.

// arrangeAtOnce is how many objects of a layer are read in one step of arrange.
const arrangeAtOnce = 1000

// gathered is an object of a layer that waits to be told.
type gathered struct {
	object     *meta.Object
	unnumbered bool
}

// query is the query that has the order of the state.
func (s *state) query() pathtree.Query {
	q := pathtree.Everything(s.pattern)
	if s.pattern == "" {
		q.Pattern = "**"
	}
	q.Descending, q.At = s.order == OrderNewest, s.now
	return q
}

// collectFirst takes the first objects of an ordered state with a limit out of memory, in an instant of the pipeline, if
// that costs less than a pointer to each object: a partial glob is matched behind the instant. What is hidden does not
// count: the limit grows until enough is not.
func (s *state) collectFirst(memory *pathtree.Tree) bool {
	q := s.query()
	if name := key.LastIndex(q.Pattern); s.limit == 0 || name != "*" && name != "**" {
		return false
	}
	for q.Limit = s.limit; ; q.Limit *= 2 {
		found := memory.Select(q)
		last := len(found) < q.Limit || q.Limit > math.MaxInt/2
		if list := s.shown(found); last || len(list) >= s.limit {
			s.setList(list)
			return true
		}
	}
}

// shown leaves out what is expired or hidden.
func (s *state) shown(versions []*pathtree.Version) []*pathtree.Version {
	return slices.DeleteFunc(versions, func(v *pathtree.Version) bool {
		return v.Expired(s.now) || key.Contains(s.hide, v.Path())
	})
}

// setList makes one list in order the state, up to the limit.
func (s *state) setList(list []*pathtree.Version) {
	if s.limit > 0 && len(list) > s.limit {
		list = slices.Clone(list[:s.limit]) // what is cut off is let go of
	}
	if s.lists = nil; len(list) > 0 {
		s.lists = [][]*pathtree.Version{list}
	}
	s.matched, s.arranged = true, true
}

// arrange brings a state into its order, step by step, before the first next. It reports whether there is more to do:
// who is called off meanwhile need not end it.
func (s *state) arrange() (more bool, err error) {
	switch {
	case s.arranged:
		return false, nil
	case s.pull == nil:
		s.arrangeLists()
		return false, nil
	}
	for range arrangeAtOnce {
		obj, err := s.nextShown()
		if err != nil {
			return false, err
		}
		if obj == nil {
			s.sortGathered()
			s.arranged = true
			return false, nil
		}
		s.gathered = append(s.gathered, gathered{obj, s.unnumbered})
		// Twice the limit at most are kept.
		if s.limit > 0 && s.limit < math.MaxInt/2 && len(s.gathered) == 2*s.limit {
			s.sortGathered()
		}
	}
	return true, nil
}

// arrangeLists makes one list of those from memory.
func (s *state) arrangeLists() {
	s.match()
	n := 0
	for _, list := range s.lists {
		n += len(list)
	}
	all := make([]*pathtree.Version, 0, n)
	for _, list := range s.lists {
		all = append(all, list...)
	}
	all = s.shown(all)
	slices.SortFunc(all, func(a, b *pathtree.Version) int {
		if s.order == OrderNewest {
			a, b = b, a
		}
		return pathtree.CompareVersions(a, b)
	})
	s.setList(all)
}

// sortGathered sorts what was gathered, and cuts it to the limit.
func (s *state) sortGathered() {
	slices.SortFunc(s.gathered, func(a, b gathered) int {
		if s.order == OrderNewest {
			a, b = b, a
		}
		return pathtree.Compare(a.object, b.object)
	})
	if s.limit > 0 && len(s.gathered) > s.limit {
		clear(s.gathered[s.limit:])
		s.gathered = s.gathered[:s.limit]
	}
}

// nextGathered returns the next object of those that were gathered; nil at the end.
func (s *state) nextGathered() *meta.Object {
	if len(s.gathered) == 0 {
		return nil
	}
	g := s.gathered[0]
	s.gathered = advance(s.gathered)
	s.unnumbered = g.unnumbered
	return g.object
}
