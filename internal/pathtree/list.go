package pathtree

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Query selects objects.
type Query struct {
	// Pattern is a valid path or glob.
	Pattern string
	// From and To are the bounds of Created, in Unix nanoseconds, both inclusive.
	From, To int64
	// Limit is the maximum number of returned objects; 0 for all.
	Limit int
	// Offset is how many objects of the result are skipped before the first returned one.
	Offset int
	// Descending returns the newest first, and so the newest Limit objects.
	Descending bool
	// After is the position in the order after which the result begins; nil for the start.
	After *Position
	// At is the time for expiry, in Unix nanoseconds; 0 for the time of the read.
	At int64
}

// Position is a position in the order of lists, whether or not there is an object at it.
type Position struct {
	Created int64
	Path    string
}

// Compare orders positions as lists do.
func (p *Position) Compare(other *Position) int {
	return comparePlaces(p.Created, p.Path, other.Created, other.Path)
}

// Holds reports whether a position is within the range of a query and after its After. It does not check the pattern.
func (q *Query) Holds(p Position) bool {
	if p.Created < q.From || p.Created > q.To {
		return false
	}
	if q.After == nil {
		return true
	}
	if q.Descending {
		return q.After.Compare(&p) > 0
	}
	return q.After.Compare(&p) < 0
}

// Everything returns a query for all objects that match a pattern, oldest first.
func Everything(pattern string) Query {
	return Query{Pattern: pattern, From: math.MinInt64, To: math.MaxInt64}
}

// Compare orders objects by Created, ties by Path: the order of all lists.
func Compare(a, b *meta.Object) int { return comparePlaces(a.Created, a.Path, b.Created, b.Path) }

// comparePlaces compares the paths only if necessary, because they are in other memory.
func comparePlaces(created int64, path string, otherCreated int64, otherPath string) int {
	if c := cmp.Compare(created, otherCreated); c != 0 {
		return c
	}
	return strings.Compare(path, otherPath)
}

// maxPath sorts after every path of the same time: no path has a byte above 'z'.
const maxPath = "\xff"

// Select returns the versions of a query in its order. Each directory is read in one consistent snapshot, and costs as
// much as it contributes. A directory's lock is held while pointers are copied, and not while a long list is matched.
//
// An Offset into the whole list of one directory is a search. Otherwise it costs as much as the skipped objects.
func (t *Tree) Select(q Query) []*Version {
	s := t.state.Load()
	pick := picker{query: q}
	pick.ordered = OneDirectory(q.Pattern)
	pick.ranked = q.Offset > 0 && pick.ordered && key.IsGlob(q.Pattern) && q.After == nil
	passed := 0
	if !pick.ranked {
		passed = q.Offset
		pick.query.Limit = q.Reach()
	}
	s.each(q.Pattern, func(d *directory, name string) {
		if key.HasGlob(name) {
			pick.list(d, name)
		} else {
			pick.single(s, d, name)
		}
	})
	found := pick.result()
	return found[min(passed, len(found)):]
}

// Reach returns how many objects of the result a query needs: its Offset and its Limit; 0 for all.
func (q *Query) Reach() int {
	if q.Limit == 0 {
		return 0
	}
	return q.Limit + min(q.Offset, math.MaxInt-q.Limit)
}

// OneDirectory reports whether everything that matches a pattern is in one directory.
func OneDirectory(pattern string) bool {
	return !key.IsSubtree(pattern) && !key.HasGlob(key.Parent(pattern))
}

// Paths returns all paths of objects that are not expired at a time (Query.At), in byte order.
func (t *Tree) Paths(at int64) []string {
	all := t.All(at)
	paths := make([]string, len(all))
	for i, n := range all {
		paths[i] = strings.Clone(n.Path())
	}
	slices.Sort(paths)
	return paths
}

// Always is a time at which nothing is expired.
const Always = math.MinInt64

// All returns all versions that are not expired at a time (Query.At), in no particular order. Each directory is read in
// one consistent snapshot.
func (t *Tree) All(at int64) []*Version {
	s := t.state.Load()
	all := make([]*Version, 0, s.objects.size())
	s.root.all(func(d *directory) {
		clock := Clock{at}
		d.mu.RLock()
		defer d.mu.RUnlock()
		d.list.Scan(func(e entry) bool {
			if n := d.at(e); !clock.Past(n.expires) {
				all = append(all, n)
			}
			return true
		})
	})
	return all
}

// picker gathers the objects of a query from any number of directories.
type picker struct {
	query Query
	// ordered means that a single directory contributes, so its results are in order.
	ordered bool
	// ranked means that the list of that directory begins at the rank of the query's Offset.
	ranked bool
	picked []*Version
}

// Clock is the one time of a read for expiry, in Unix nanoseconds; 0 until the read finds an object with a time to
// live. At that point the lock of the directory, or the snapshot of the persistent layer, is held. So an object that a
// writer found expired before it made a change is also expired for every reader that sees the change.
type Clock struct{ Time int64 }

// Past reports whether an end, in Unix nanoseconds, has passed; 0 for never.
func (c *Clock) Past(end int64) bool {
	if end == 0 {
		return false
	}
	c.read()
	return end <= c.Time
}

func (c *Clock) read() {
	if c.Time == 0 {
		c.Time = now()
	}
}

// single takes the object with a name from a directory, if there is one.
func (p *picker) single(s *state, d *directory, name string) {
	n := s.load(d.join(name))
	clock := Clock{p.query.At}
	if n != nil && p.query.Holds(n.Position()) && !clock.Past(n.Expires()) {
		p.add(n)
	}
}

// matchUnlocked is how many bytes of patterns and names are matched while a directory's lock is held. It is enough for
// most lists that a limit ends early. The rest of a longer list is matched without the lock.
const matchUnlocked = 1 << 14

// list takes the matches from a directory's list, in the query's order, and stops once no later entry can be part of
// the result.
func (p *picker) list(d *directory, name string) {
	q := &p.query
	clock := Clock{q.At}
	take := func(n *Version) bool {
		if name != "*" && !key.Match(name, n.Index()) || clock.Past(n.Expires()) {
			return true
		}
		if q.After != nil && !q.Holds(n.Position()) {
			return true // the position itself, at which the iteration began
		}
		return p.add(n)
	}
	for _, n := range p.scan(d, name, &clock, take) {
		if !take(n) {
			return
		}
	}
}

// scan calls take with the entries of a directory in a query's range, in the query's order, while the lock is held.
// After enough matching it returns the remaining ones.
func (p *picker) scan(d *directory, name string, clock *Clock, take func(*Version) bool) (rest []*Version) {
	q := &p.query
	budget := matchUnlocked
	visit := func(e entry) bool {
		if e.created < q.From || e.created > q.To {
			return false
		}
		n := d.at(e)
		if name != "*" {
			if budget <= 0 {
				rest = append(rest, n)
				return true
			}
			budget -= len(name) + len(n.Index())
		}
		return take(n)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	// How much of a directory is in a range is unknown. Only a limit bounds it.
	everything := q.From == math.MinInt64 && q.To == math.MaxInt64 && q.After == nil
	if p.picked == nil && name == "*" && (everything || q.Limit > 0) {
		size := d.list.Len()
		if q.Limit > 0 {
			size = min(size, q.Limit)
		}
		p.picked = make([]*Version, 0, size)
	}
	switch {
	case !p.ranked && everything && q.Descending:
		d.list.Reverse(visit)
	case !p.ranked && everything:
		d.list.Scan(visit)
	default:
		start, ok := d.start(q)
		if p.ranked {
			start, ok = d.list.GetAt(d.atOffset(q, clock))
		}
		switch {
		case !ok: // nothing is in the range
		case q.Descending:
			d.list.Descend(start, visit)
		default:
			d.list.Ascend(start, visit)
		}
	}
	if rest != nil {
		clock.read()
	}
	return rest
}

// atOffset returns the rank of the entry at a query's Offset among the unexpired entries in its range, in its order; -1
// if there are too few. It requires mu.
//
// Expired objects that are not removed yet do not count. They are at the start of d.ends, and each of them before the
// position moves it by one.
func (d *directory) atOffset(q *Query, clock *Clock) int {
	low, high := d.rank(q.From, ""), d.rank(q.To, maxPath)
	if q.Offset >= high-low {
		return -1
	}
	var gone []*Version
	if d.ends != nil {
		clock.read()
		d.ends.Scan(func(n *Version) bool {
			if n.Expired(clock.Time) && n.created >= q.From && n.created <= q.To {
				gone = append(gone, n)
			}
			return n.Expired(clock.Time)
		})
		slices.SortFunc(gone, q.compare)
	}
	place, step := low+q.Offset, 1
	if q.Descending {
		place, step = high-1-q.Offset, -1
	}
	for _, n := range gone {
		e, _ := d.list.GetAt(place)
		if q.compare(n, d.at(e)) > 0 {
			break
		}
		if place += step; place < low || place >= high {
			return -1
		}
	}
	return place
}

// start returns the first entry of a query's range and after its After, in its order; false if there is none. The entry
// at After itself may be first. It requires mu.
func (d *directory) start(q *Query) (entry, bool) {
	after := q.After
	switch {
	case q.Descending && (after == nil || q.To < after.Created):
		return d.seek(q.To, maxPath, true)
	case !q.Descending && (after == nil || q.From > after.Created):
		return d.seek(q.From, "", false)
	}
	return d.seek(after.Created, after.Path, q.Descending)
}

// add takes a version and reports whether a later one of the same directory can still be part of the result.
func (p *picker) add(n *Version) bool {
	limit := p.query.Limit
	switch {
	case limit == 0:
		p.picked = append(p.picked, n)
		return true
	case p.ordered:
		p.picked = append(p.picked, n)
		return len(p.picked) < limit
	case len(p.picked) < limit:
		heap.Push(p, n)
		return true
	case p.compare(n, p.picked[0]) < 0:
		p.picked[0] = n
		heap.Fix(p, 0)
		return true
	default:
		return false
	}
}

func (p *picker) compare(a, b *Version) int { return p.query.compare(a, b) }

// compare orders by the query's direction.
func (q *Query) compare(a, b *Version) int {
	if q.Descending {
		return CompareVersions(b, a)
	}
	return CompareVersions(a, b)
}

func (p *picker) result() []*Version {
	if !p.ordered {
		slices.SortFunc(p.picked, p.compare)
	}
	return p.picked
}

// With a limit over several directories, picked is a heap with the worst object on top: heap.Interface.

func (p *picker) Len() int           { return len(p.picked) }
func (p *picker) Less(i, j int) bool { return p.compare(p.picked[i], p.picked[j]) > 0 }
func (p *picker) Swap(i, j int)      { p.picked[i], p.picked[j] = p.picked[j], p.picked[i] }
func (p *picker) Push(x any)         { p.picked = append(p.picked, x.(*Version)) }

func (p *picker) Pop() any {
	last := p.picked[len(p.picked)-1]
	p.picked = p.picked[:len(p.picked)-1]
	return last
}
