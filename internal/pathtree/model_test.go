package pathtree

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// model is the plain truth: a map, and a sort for each question.
type model map[string]meta.Object

// past is a time to live that has ended, to come one that no test lives to see.
const (
	past   = 1
	toCome = math.MaxInt64
)

// shown reports whether reads show an object.
func shown(obj *meta.Object) bool { return obj.Expires != past }

func (m model) sorted(q Query) []meta.Object {
	var found []meta.Object
	for path, obj := range m {
		if key.Match(q.Pattern, path) && q.From <= obj.Created && obj.Created <= q.To && shown(&obj) && follows(q, &obj) {
			found = append(found, obj)
		}
	}
	slices.SortFunc(found, func(a, b meta.Object) int {
		if q.Descending {
			return Compare(&b, &a)
		}
		return Compare(&a, &b)
	})
	found = found[min(q.Offset, len(found)):]
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[:q.Limit]
	}
	return found
}

// follows reports whether an object comes behind the place where a query begins.
func follows(q Query, obj *meta.Object) bool {
	if q.After == nil {
		return true
	}
	order := Compare(obj, &meta.Object{Created: q.After.Created, Path: q.After.Path})
	return order > 0 && !q.Descending || order < 0 && q.Descending
}

func (m model) paths() []string {
	paths := make([]string, 0, len(m))
	for path, obj := range m {
		if shown(&obj) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// children counts what is below a path, by looking at every object.
func (m model) children(path string) []Child {
	objects := make(map[string]int)
	dirs := make(map[string]map[string]bool)
	for p, obj := range m {
		rest, ok := strings.CutPrefix(p, path+"/")
		if path == "" {
			rest, ok = p, true
		}
		segments := strings.Split(rest, "/")
		if !ok || len(segments) == 1 || !shown(&obj) {
			continue
		}
		name := segments[0]
		if dirs[name] == nil {
			dirs[name] = make(map[string]bool)
		}
		if len(segments) == 2 {
			objects[name]++
		} else {
			dirs[name][segments[1]] = true
		}
	}
	children := []Child{}
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		children = append(children, Child{name, objects[name], len(dirs[name])})
	}
	return children
}

// put stores an object by either way that there is.
func (h *harness) put(obj *meta.Object) *Version {
	if h.r.IntN(2) == 0 {
		return h.tree.Put(*obj)
	}
	spot := h.tree.Find(obj.Path)
	switch h.r.IntN(8) { // what somebody else may do meanwhile
	case 0:
		h.tree.Put(meta.Object{Path: obj.Path, Created: 1})
	case 1:
		h.tree.Delete(obj.Path)
	}
	var made *Version
	if h.r.IntN(2) == 0 {
		made = NewVersion(obj.Path, obj.Data)
	}
	return h.tree.PutAt(spot, made, obj)
}

func describeVersion(n *Version) string {
	obj := n.Object()
	return describe(&obj)
}

func describe(obj *meta.Object) string {
	return fmt.Sprintf("%s@%d#%d/%s x%d", obj.Path, obj.Created, obj.Revision, obj.Index, obj.Expires)
}

// compareLists holds what a tree answers against the model.
func compareLists(t *testing.T, q Query, got []*Version, want []meta.Object) {
	t.Helper()
	var g, w []string
	for _, obj := range got {
		g = append(g, describeVersion(obj))
	}
	for i := range want {
		w = append(w, describe(&want[i]))
	}
	if !slices.Equal(g, w) {
		t.Fatalf("Select(%+v)\n got %v\nwant %v", q, g, w)
	}
}

// checkStructure verifies the invariants of a tree: the map, the directories and the lists
// hold the same objects, and no directory is kept that holds nothing.
func checkStructure(t *testing.T, tree *Tree) {
	t.Helper()
	s := tree.state.Load()
	dirs, listed, bytes := 0, 0, 0
	s.root.all(func(d *directory) {
		own := 0
		if d != s.root {
			dirs++
			if d.list.Len() == 0 && d.childCount() == 0 {
				t.Fatalf("directory %q is empty and was kept", d.path)
			}
			if known, ok := s.dirs.Load(d.path); !ok || known != d {
				t.Fatalf("directory %q is a child of %q and not in the map", d.path, d.parent.path)
			}
		}
		var last *Version
		d.list.Scan(func(e entry) bool {
			listed++
			n := d.at(e)
			if s.objects.load(n.Path()) != n || n.entry() != e || s.home(n) != d || n.turning() {
				t.Fatalf("the entry of %q and its object do not belong together", n.Path())
			}
			if last != nil && CompareVersions(last, n) >= 0 {
				t.Fatalf("%q is listed before %q", last.Path(), n.Path())
			}
			if n.Expires() != 0 {
				own++
			}
			bytes += len(n.Data())
			last = n
			return true
		})
		d.checkCells(t)
		if size(d.ends) != own {
			t.Fatalf("directory %q orders %d objects that expire, %d do", d.path, size(d.ends), own)
		}
		ending := 0
		for _, child := range d.copyChildren() {
			if last := child.lastEnd(); child.last != last {
				t.Fatalf("directory %q ends at %d, its parent has %d", child.path, last, child.last)
			}
			if child.last != never {
				if found, ok := d.ending.Get(child); !ok || found != child {
					t.Fatalf("directory %q ends at %d, and is not among those of its parent that do", child.path, child.last)
				}
				ending++
			}
		}
		if size(d.ending) != ending {
			t.Fatalf("directory %q orders %d directories that end, %d do", d.path, size(d.ending), ending)
		}
	})
	if got := tree.Bytes(); got != int64(bytes) {
		t.Fatalf("%d bytes of data are counted, there are %d", got, bytes)
	}
	if dirs != s.dirs.Size() {
		t.Fatalf("%d directories in the map, %d reachable", s.dirs.Size(), dirs)
	}
	if listed != s.objects.size() || listed != tree.Len() {
		t.Fatalf("%d objects in the map, %d listed", s.objects.size(), listed)
	}
}

func randomPath(r *rand.Rand) string { return testrand.Joined(r, 3, "a", "b", "ab", "ba", "B") }

func randomQuery(r *rand.Rand) Query {
	q := Everything(testrand.Pattern(r, 3, "a", "b", "ab", "*", "*", "*", "a*", "*b", "*a*", "a*b", "none"))
	q.Descending = r.IntN(2) == 0
	if r.IntN(2) == 0 {
		q.Limit = 1 + r.IntN(6)
	}
	if r.IntN(3) == 0 {
		q.From = int64(r.IntN(8) - 4)
	}
	if r.IntN(3) == 0 {
		q.To = int64(r.IntN(8) - 4)
	}
	if r.IntN(2) == 0 {
		// With few paths and times it often is the place of an object.
		q.After = &Position{Created: int64(r.IntN(9) - 4), Path: randomPath(r)}
	}
	if r.IntN(2) == 0 {
		q.Offset = r.IntN(8)
	}
	return q
}

// harness is a tree and its model under the same operations.
type harness struct {
	*testing.T
	r        *rand.Rand
	tree     *Tree
	model    model
	revision uint64
}

func (h *harness) object() meta.Object {
	h.revision++
	path := randomPath(h.r)
	obj := meta.Object{
		Path: path, Index: key.LastIndex(path), Revision: h.revision,
		Created: int64(h.r.IntN(7) - 3), Data: []byte("12345")[:1+h.r.IntN(5)],
	}
	switch h.r.IntN(8) {
	case 0:
		obj.Expires = past
	case 1:
		obj.Expires = toCome
	}
	return obj
}

func (h *harness) step() {
	switch n := h.r.IntN(100); {
	case n < 45:
		obj := h.object()
		if old, ok := h.model[obj.Path]; ok && h.r.IntN(2) == 0 {
			obj.Created = old.Created // an overwrite; else the entry moves
		}
		if got := h.put(&obj); describeVersion(got) != describe(&obj) {
			h.Fatalf("Put returned %s, stored %s", describeVersion(got), describe(&obj))
		}
		h.model[obj.Path] = obj
	case n < 50:
		obj := h.object()
		if _, ok := h.tree.Stored(obj.Path); !ok {
			h.tree.Put(obj)
		}
		if _, ok := h.model[obj.Path]; !ok {
			h.model[obj.Path] = obj
		}
	case n < 75:
		path := randomPath(h.r)
		_, want := h.model[path]
		if got := h.tree.Delete(path); got != want {
			h.Fatalf("Delete(%q) = %v, want %v", path, got, want)
		}
		delete(h.model, path)
	case n < 80:
		h.deleteAll()
	case n < 90:
		h.apply()
	case n < 91:
		h.tree.Clear()
		clear(h.model)
	case n < 93:
		h.load()
	default:
		h.read()
	}
}

func (h *harness) deleteAll() {
	var paths []string
	if h.r.IntN(2) == 0 { // a glob
		for _, obj := range h.model.sorted(randomQuery(h.r)) {
			paths = append(paths, obj.Path)
		}
	}
	for range h.r.IntN(4) { // absent ones
		paths = append(paths, randomPath(h.r))
	}
	paths = append(paths, paths...) // and each twice
	h.tree.DeleteAll(paths)
	for _, path := range paths {
		delete(h.model, path)
	}
}

// apply makes a change of several keys: new ones, overwrites, moves of Created, removals of what is
// there and of what is not, some of them twice.
func (h *harness) apply() {
	var changes []Mutation
	named := make(map[string]bool)
	for range h.r.IntN(12) {
		obj := h.object()
		if named[obj.Path] {
			continue
		}
		named[obj.Path] = true
		if h.r.IntN(3) == 0 {
			changes = append(changes, Mutation{Path: obj.Path})
			if h.r.IntN(4) == 0 {
				changes = append(changes, Mutation{Path: obj.Path})
			}
			continue
		}
		if old, ok := h.model[obj.Path]; ok && h.r.IntN(2) == 0 {
			obj.Created = old.Created
		}
		changes = append(changes, Mutation{Path: obj.Path, Object: &obj})
	}
	stored := h.tree.Apply(changes)
	if len(stored) != len(changes) {
		h.Fatalf("Apply of %d changes returned %d objects", len(changes), len(stored))
	}
	for i, c := range changes {
		switch {
		case c.Object == nil:
			delete(h.model, c.Path)
			if stored[i] != nil {
				h.Fatalf("Apply returned %s for the removal of %q", describeVersion(stored[i]), c.Path)
			}
		case stored[i] == nil || describeVersion(stored[i]) != describe(c.Object):
			h.Fatalf("Apply returned %v, stored %s", stored[i], describe(c.Object))
		default:
			h.model[c.Path] = *c.Object
		}
	}
}

func (h *harness) load() {
	loaded := model{}
	var objects []meta.Object
	var highest uint64
	for range h.r.IntN(60) {
		obj := h.object()
		if _, twice := loaded[obj.Path]; !twice {
			loaded[obj.Path] = obj
			objects = append(objects, obj)
			highest = max(highest, obj.Revision)
		}
	}
	revision, _, err := h.tree.Load(sequence(objects, nil), h.r.IntN(100), nil)
	if err != nil || revision != highest {
		h.Fatalf("Load = %d, %v, want %d", revision, err, highest)
	}
	h.model = loaded
}

func (h *harness) read() {
	q := randomQuery(h.r)
	compareLists(h.T, q, h.tree.Select(q), h.model.sorted(q))
	path := randomPath(h.r)
	want, exists := h.model[path]
	got, ok := h.tree.Stored(path)
	if ok != exists || ok && describeVersion(got) != describe(&want) {
		h.Fatalf("Stored(%q) = %v, %v, want %v, %v", path, got, ok, want, exists)
	}
	got, ok = h.tree.Get(path)
	if show := exists && shown(&want); ok != show || ok && describeVersion(got) != describe(&want) {
		h.Fatalf("Get(%q) = %v, %v, want %v, %v", path, got, ok, want, show)
	}
	h.browse(q.Pattern, path)
	if got, want := h.tree.Paths(0), h.model.paths(); !slices.Equal(got, want) {
		h.Fatalf("Paths\n got %v\nwant %v", got, want)
	}
}

// browse counts.
func (h *harness) browse(pattern, path string) {
	for _, p := range []string{pattern, path} {
		if got, want := h.tree.Count(p, 0), len(h.model.sorted(Everything(p))); got != want {
			h.Fatalf("Count(%q) = %d, want %d", p, got, want)
		}
	}
	for _, p := range []string{"", path} {
		want := h.model.children(p)
		if got, total, _, next := h.tree.Children(p, "", 0, 0); !slices.Equal(got, want) || total != len(want) || next != "" {
			h.Fatalf("Children(%q) = %v of %d, next %q, want %v", p, got, total, next, want)
		}
		after, limit := testrand.Pick(h.r, "", "B", "a", "aa", "ab", "ba", "z"), 1+h.r.IntN(3)
		offset := 0
		if h.r.IntN(2) == 0 {
			after, offset = "", h.r.IntN(4)
		}
		behind := slices.DeleteFunc(slices.Clone(want), func(c Child) bool { return c.Name <= after })
		behind = behind[min(offset, len(behind)):]
		before := len(want) - len(behind)
		next := ""
		if len(behind) > limit {
			behind = behind[:limit]
			next = behind[limit-1].Name
		}
		if got, total, rank, at := h.tree.Children(p, after, offset, limit); !slices.Equal(got, behind) || total != len(want) || rank != before || at != next {
			h.Fatalf("Children(%q, %q, %d, %d) = %v from %d of %d, next %q, want %v from %d of %d, next %q", p, after, offset, limit,
				got, rank, total, at, behind, before, len(want), next)
		}
		held := 0
		for other := range h.model {
			if key.Parent(other) == p {
				held++
			}
		}
		if got := h.tree.Held(p); got != held {
			h.Fatalf("Held(%q) = %d, want %d", p, got, held)
		}
	}
}

func TestAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for run := range uint64(40) {
		h := &harness{T: t, r: rand.New(rand.NewPCG(seed, run)), tree: New(), model: model{}}
		for range 1500 {
			h.step()
		}
		h.read()
		checkStructure(t, h.tree)
		h.tree.DeleteAll(slices.Collect(maps.Keys(h.model)))
		checkStructure(t, h.tree)
		checkEmpty(t, h.tree)
	}
}

// checkEmpty verifies that nothing at all is left behind.
func checkEmpty(t *testing.T, tree *Tree) {
	t.Helper()
	s := tree.state.Load()
	if s.objects.size() != 0 || s.dirs.Size() != 0 || s.root.childCount() != 0 || s.root.list.Len() != 0 {
		t.Fatalf("an empty tree holds %d objects, %d directories, %d children of the root, %d in its list",
			s.objects.size(), s.dirs.Size(), s.root.childCount(), s.root.list.Len())
	}
}

// A queue pushes and deletes for ever, in directories that come and go.
func TestEmptyDirectoriesAreLetGo(t *testing.T) {
	rounds := 1_000_000
	if testing.Short() {
		rounds = 20_000
	}
	tree := New()
	for i := range rounds {
		path := fmt.Sprintf("queue/%x/part/%x", i, i)
		tree.Put(meta.Object{Path: path, Created: int64(i)})
		if i%2 == 0 {
			tree.Delete(path)
		} else {
			tree.DeleteAll([]string{path})
		}
	}
	checkEmpty(t, tree)
}

func TestPutKeepsNoCallersMemory(t *testing.T) {
	tree := New()
	buffer := []byte("dir/one")
	tree.Put(meta.Object{Path: string(buffer[:7])})
	got, ok := tree.Get("dir/one")
	if !ok || got.Index() != "one" {
		t.Fatalf("Get = %v, %v, want an object with index one", got, ok)
	}
}

func FuzzSelect(f *testing.F) {
	f.Add("a/*", int64(math.MinInt64), int64(math.MaxInt64), 3, true, []byte{1, 2, 3}, int64(1), "")
	f.Add("*/a*", int64(-1), int64(2), 0, false, []byte{9, 0, 255, 17, 3}, int64(0), "a/b")
	f.Add("a/**", int64(-1), int64(3), 2, true, []byte("some objects"), int64(2), "")
	f.Add("a*b/*/b", int64(3), int64(-3), 1, false, []byte("some objects"), int64(-2), "ab")
	f.Fuzz(func(t *testing.T, pattern string, from, to int64, limit int, descending bool, content []byte, created int64, after string) {
		if key.Check(pattern) != nil || limit < 0 {
			t.Skip("the caller validates")
		}
		tree, truth := New(), model{}
		for i, b := range content {
			r := rand.New(rand.NewPCG(uint64(b), 0))
			path := randomPath(r)
			obj := meta.Object{Path: path, Index: key.LastIndex(path), Created: int64(b%8) - 4, Revision: uint64(i)}
			obj.Expires = []int64{0, 0, past, toCome}[b>>5%4]
			if b >= 200 {
				tree.Delete(path)
				delete(truth, path)
				continue
			}
			tree.Put(obj)
			truth[path] = obj
		}
		q := Query{Pattern: pattern, From: from, To: to, Limit: limit, Descending: descending}
		if after != "" {
			q.After = &Position{Created: created, Path: after}
		} else if created > 0 {
			q.Offset = int(created)
		}
		compareLists(t, q, tree.Select(q), truth.sorted(q))
		checkStructure(t, tree)
	})
}

// A range takes memory for what it returns, not for its directory.
func TestRangeCostsItsAnswer(t *testing.T) {
	tree := New()
	for i := range 50_000 {
		tree.Put(meta.Object{Path: fmt.Sprintf("d/%d", i), Created: int64(i)})
	}
	got := tree.Select(Query{Pattern: "d/*", From: 100, To: 109})
	if len(got) != 10 || cap(got) > 100 {
		t.Fatalf("a range of 10 objects: %d objects, memory for %d", len(got), cap(got))
	}
}
