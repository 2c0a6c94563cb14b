package pathtree

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Query selects objects.
type Query struct {
	// Pattern is a valid path or glob.
	Pattern string
	// From and To bound Created, in Unix nanoseconds, both inclusive.
	From, To int64
	// Limit is the most objects to return; 0 means all.
	Limit int
	// Offset is how many objects of the result are passed over before the first that is returned.
	Offset int
	// Descending returns the newest first, and so the newest Limit objects.
	Descending bool
	// After is where the result begins: behind this place in its order; nil for its start.
	After *Position
	// At is the time that expiry is held against, in Unix nanoseconds; 0 for that of the read.
	At int64
}

// Position is a place in the order of lists, whether or not an object is there.
type Position struct {
	Created int64
	Path    string
}

// Compare orders positions as lists do.
func (p *Position) Compare(other *Position) int {
	return comparePlaces(p.Created, p.Path, other.Created, other.Path)
}

// Holds reports whether a query's range and position let in what is at a position; its pattern is not
// looked at.
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

// Everything is a query for all that matches a pattern, oldest first.
func Everything(pattern string) Query {
	return Query{Pattern: pattern, From: math.MinInt64, To: math.MaxInt64}
}

// Compare orders objects by Created, ties by Path: the order of all lists.
func Compare(a, b *meta.Object) int { return comparePlaces(a.Created, a.Path, b.Created, b.Path) }

// comparePlaces looks at the paths only where it must: they are in other memory.
func comparePlaces(created int64, path string, otherCreated int64, otherPath string) int {
	if c := cmp.Compare(created, otherCreated); c != 0 {
		return c
	}
	return strings.Compare(path, otherPath)
}

// maxPath sorts behind every path of the same time: no path has a byte above 'z'.
const maxPath = "\xff"

// Select returns the versions of a query in its order. Each
// directory is read in one consistent snapshot, and costs what it contributes: a
// directory's lock is held while pointers are copied, and not while a long list is matched.
//
// An Offset into the whole list of one directory is a search. Elsewhere it costs what it passes over.
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

// Reach returns how many objects of the result decide about a query: its Offset and its Limit; 0 means all.
func (q *Query) Reach() int {
	if q.Limit == 0 {
		return 0
	}
	return q.Limit + min(q.Offset, math.MaxInt-q.Limit)
}

// OneDirectory reports whether all that matches a pattern is in one directory.
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

// All returns all versions that are not expired at a time (Query.At), in no order. Each
// directory is read in one consistent snapshot.
func (t *Tree) All(at int64) []*Version {
	s := t.state.Load()
	all := make([]*Version, 0, s.objects.size())
	s.root.all(func(d *directory) {
		clock := Clock{at}
		d.mu.RLock()
		defer d.mu.RUnlock()
		d.list.Scan(func(e *entry) bool {
			if !clock.Past(e.node.Expires()) {
				all = append(all, e.node)
			}
			return true
		})
	})
	return all
}

// picker gathers the objects of a query from any number of directories.
type picker struct {
	query Query
	// ordered says that a single directory contributes: what it yields is in order.
	ordered bool
	// ranked says that the list of that directory begins at the rank of the query's Offset.
	ranked bool
	picked []*Version
}

// Clock is the one time of a read, in Unix nanoseconds; 0 until an object that has a time to live comes along. The lock
// of the directory, or the snapshot of the persistent layer, is held then: what a writer took for expired before it
// changed something is expired for whoever sees the change.
type Clock struct{ Time int64 }

// Past reports whether an end, in Unix nanoseconds, 0 for never, has come.
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

// single takes the object called name out of a directory, if it is there.
func (p *picker) single(s *state, d *directory, name string) {
	n := s.load(d.join(name))
	clock := Clock{p.query.At}
	if n != nil && p.query.Holds(n.Position()) && !clock.Past(n.Expires()) {
		p.add(n)
	}
}

// matchUnlocked is how many bytes of patterns and names are matched while a directory's lock is held. It is
// enough for most lists that a limit ends early; of a longer one the rest is matched without the lock.
const matchUnlocked = 1 << 14

// list takes what matches out of a directory's list, in the query's order, and stops as
// soon as nothing that follows can be part of the result.
func (p *picker) list(d *directory, name string) {
	q := &p.query
	clock := Clock{q.At}
	take := func(n *Version) bool {
		if name != "*" && !key.Match(name, n.Index()) || clock.Past(n.Expires()) {
			return true
		}
		if q.After != nil && !q.Holds(n.Position()) {
			return true // the position itself, where the iteration began
		}
		return p.add(n)
	}
	for _, n := range p.scan(d, name, &clock, take) {
		if !take(n) {
			return
		}
	}
}

// scan calls take with what a query's range holds of a directory, in the query's order, while the lock is held. It
// returns what is left once enough was matched.
func (p *picker) scan(d *directory, name string, clock *Clock, take func(*Version) bool) (rest []*Version) {
	q := &p.query
	budget := matchUnlocked
	visit := func(e *entry) bool {
		if e.created < q.From || e.created > q.To {
			return false
		}
		if name != "*" {
			if budget <= 0 {
				rest = append(rest, e.node)
				return true
			}
			budget -= len(name) + len(e.node.Index())
		}
		return take(e.node)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	// The part of a directory that a range holds is unknown: only a limit bounds it.
	everything := q.From == math.MinInt64 && q.To == math.MaxInt64 && q.After == nil
	if p.picked == nil && name == "*" && (everything || q.Limit > 0) {
		size := d.list.Len()
		if q.Limit > 0 {
			size = min(size, q.Limit)
		}
		p.picked = make([]*Version, 0, size)
	}
	start := q.start()
	if p.ranked {
		if start = d.atRank(q, clock); start == nil {
			return nil
		}
	}
	switch {
	case start == nil && q.Descending:
		d.list.Reverse(visit)
	case start == nil:
		d.list.Scan(visit)
	case q.Descending:
		d.list.Descend(start, visit)
	default:
		d.list.Ascend(start, visit)
	}
	if rest != nil {
		clock.read()
	}
	return rest
}

// atRank returns the entry at a query's Offset among those in its range that are not expired, in its order; nil where
// there are no more. It needs mu.
//
// What is expired and not removed yet has no rank. The first of these are where d.ends begins, and each of them that
// stands before the place moves it by one.
func (d *directory) atRank(q *Query, clock *Clock) *entry {
	at := func(i int) *entry {
		e, _ := d.list.GetAt(i)
		return e
	}
	low := sort.Search(d.list.Len(), func(i int) bool { return at(i).created >= q.From })
	high := sort.Search(d.list.Len(), func(i int) bool { return at(i).created > q.To })
	if q.Offset >= high-low {
		return nil
	}
	var gone []*entry
	if d.ends != nil {
		clock.read()
		d.ends.Scan(func(n *Version) bool {
			if n.Expired(clock.Time) && n.created >= q.From && n.created <= q.To {
				gone = append(gone, &entry{created: n.created, node: n})
			}
			return n.Expired(clock.Time)
		})
		slices.SortFunc(gone, func(a, b *entry) int { return q.compare(a.node, b.node) })
	}
	place, step := low+q.Offset, 1
	if q.Descending {
		place, step = high-1-q.Offset, -1
	}
	for _, e := range gone {
		if q.compare(e.node, at(place).node) > 0 {
			break
		}
		if place += step; place < low || place >= high {
			return nil
		}
	}
	return at(place)
}

// start returns an entry to begin at; nil for the end of the list that the order begins with.
func (q *Query) start() *entry {
	after := q.After
	switch {
	case q.Descending && q.To != math.MaxInt64 && (after == nil || q.To < after.Created):
		return pivot(q.To, maxPath)
	case !q.Descending && q.From != math.MinInt64 && (after == nil || q.From > after.Created):
		return pivot(q.From, "")
	case after != nil:
		return pivot(after.Created, after.Path)
	}
	return nil
}

// add takes a version and reports whether a later one of the same directory can still be
// part of the result.
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

// With a limit over several directories, picked is a heap with the worst object on top:
// heap.Interface.

func (p *picker) Len() int           { return len(p.picked) }
func (p *picker) Less(i, j int) bool { return p.compare(p.picked[i], p.picked[j]) > 0 }
func (p *picker) Swap(i, j int)      { p.picked[i], p.picked[j] = p.picked[j], p.picked[i] }
func (p *picker) Push(x any)         { p.picked = append(p.picked, x.(*Version)) }

func (p *picker) Pop() any {
	last := p.picked[len(p.picked)-1]
	p.picked = p.picked[:len(p.picked)-1]
	return last
}
