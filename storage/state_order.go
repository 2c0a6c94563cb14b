package storage

import (
	"math"
	"slices"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// States of subscriptions that are delivered in an order, with or without a limit.

// arrangeAtOnce is how many objects of a layer one step of arrange reads.
const arrangeAtOnce = 1000

// gathered is an object of a layer that waits for delivery.
type gathered struct {
	object     *meta.Object
	unnumbered bool
}

// query is the query with the order of the state.
func (s *state) query() pathtree.Query {
	q := pathtree.Everything(s.pattern)
	if s.pattern == "" {
		q.Pattern = "**"
	}
	q.Descending, q.At = s.order == OrderNewest, s.now
	return q
}

// collectFirst takes the first objects of an ordered state with a limit from memory, at an instant of the pipeline.
// It declines if that costs more than a pointer for each object: a partial glob is matched after the instant. Hidden
// objects do not count, so the limit grows until enough objects are visible.
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

// shown drops expired and hidden objects.
func (s *state) shown(versions []*pathtree.Version) []*pathtree.Version {
	return slices.DeleteFunc(versions, func(v *pathtree.Version) bool {
		return v.Expired(s.now) || key.Contains(s.hide, v.Path())
	})
}

// setList makes one ordered list the state, up to the limit.
func (s *state) setList(list []*pathtree.Version) {
	if s.limit > 0 && len(list) > s.limit {
		list = slices.Clone(list[:s.limit]) // release the rest
	}
	if s.lists = nil; len(list) > 0 {
		s.lists = [][]*pathtree.Version{list}
	}
	s.matched, s.arranged = true, true
}

// arrange puts a state into its order, step by step, before the first next. It reports whether there is more to do,
// so a caller can stop between steps.
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
		// Keep at most twice the limit.
		if s.limit > 0 && s.limit < math.MaxInt/2 && len(s.gathered) == 2*s.limit {
			s.sortGathered()
		}
	}
	return true, nil
}

// arrangeLists merges the lists from memory into one.
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

// sortGathered sorts the gathered objects and cuts them to the limit.
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

// nextGathered returns the next gathered object; nil at the end.
func (s *state) nextGathered() *meta.Object {
	if len(s.gathered) == 0 {
		return nil
	}
	g := s.gathered[0]
	s.gathered = advance(s.gathered)
	s.unnumbered = g.unnumbered
	return g.object
}
