package pathtree

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Work is bounded by taking away what must not be looked at: whoever looks panics.

// TestCountLooksAtNoObject counts where some objects have a time to live, in one directory of
// which some are past it, and where all do.
func TestCountLooksAtNoObject(t *testing.T) {
	for _, c := range []struct {
		name    string
		expires func(i int) int64
		want    int
	}{
		{"one to come", func(i int) int64 { return map[int]int64{7: toCome}[i] }, 1000},
		{"one past", func(i int) int64 { return map[int]int64{7: past}[i] }, 999},
		{"all to come", func(int) int64 { return toCome }, 1000},
		{"half past", func(i int) int64 { return []int64{past, toCome}[i%2] }, 500},
		{"all past", func(int) int64 { return past }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := New()
			for i := range 1000 {
				tree.Put(meta.Object{Path: fmt.Sprintf("d/%d", i), Expires: c.expires(i)})
			}
			tree.state.Load().root.all(func(d *directory) {
				d.list.Scan(func(e entry) bool { d.cells.set(e.cell, nil); return true })
			})
			if got := tree.Count("d/*", 0); got != c.want {
				t.Errorf("Count = %d, want %d", got, c.want)
			}
			if got, want := children(tree), []Child{{"d", c.want, 0}}; c.want > 0 && !slices.Equal(got, want) {
				t.Errorf("Children = %v, want %v", got, want)
			}
		})
	}
}

// TestChildrenLookNoDeeper counts the directories below the children without a look at them.
func TestChildrenLookNoDeeper(t *testing.T) {
	for _, c := range []struct {
		name    string
		expires func(i int) int64
		want    int
	}{
		{"one to come", func(i int) int64 { return map[int]int64{7: toCome}[i] }, 100},
		{"one past", func(i int) int64 { return map[int]int64{7: past}[i] }, 99},
		{"half past", func(i int) int64 { return []int64{past, toCome}[i%2] }, 50},
		{"all to come", func(int) int64 { return toCome }, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := New()
			for i := range 100 {
				for j := range 3 {
					tree.Put(meta.Object{Path: fmt.Sprintf("top/%d/deep/%d", i, j), Expires: c.expires(i)})
				}
			}
			for _, d := range tree.state.Load().dirs.All() {
				if strings.Count(d.path, "/") > 0 {
					d.list, d.children, d.ends, d.ending = nil, nil, nil, nil
				}
			}
			if got, want := children(tree), []Child{{"top", 0, c.want}}; !slices.Equal(got, want) {
				t.Errorf("Children = %v, want %v", got, want)
			}
		})
	}
}

// TestLongListsAreMatchedUnlocked matches some of a list while the directory is locked, however
// long it is, and the rest when it is not; what comes out is one list.
func TestLongListsAreMatchedUnlocked(t *testing.T) {
	const name = "*a*b"
	for _, n := range []int{1000, 4000} {
		tree := New()
		for i := range n {
			tree.Put(meta.Object{Path: fmt.Sprintf("d/%s-%d-a-b", strings.Repeat("x", 900), i), Created: int64(i)})
		}
		dir, _ := tree.state.Load().dirs.Load("d")
		matched := 0
		p := picker{query: Everything("d/" + name)}
		rest := p.scan(dir, name, new(Clock), func(v *Version) bool {
			matched += len(name) + len(v.Index())
			if dir.mu.TryLock() {
				t.Fatal("the directory is not locked")
			}
			return true
		})
		if most := matchUnlocked + key.MaxLength; matched > most || len(rest) < n-most/900 {
			t.Errorf("of %d objects %d bytes are matched under the lock, at most %d; %d objects are left", n, matched, most, len(rest))
		}
		for _, descending := range []bool{false, true} {
			q := Everything("d/" + name)
			q.Descending, q.Limit = descending, n-1
			got := tree.Select(q)
			if len(got) != n-1 || !slices.IsSortedFunc(got, func(a, b *Version) int { return (&picker{query: q}).compare(a, b) }) {
				t.Errorf("of %d objects %d are listed, or in another order", n, len(got))
			}
		}
	}
}

// TestCollectMatchesLater leaves the names to Match, and with it returns what Select does.
func TestCollectMatchesLater(t *testing.T) {
	tree := New()
	for i := range 200 {
		tree.Put(meta.Object{Path: fmt.Sprintf("%d/x%d", i%3, i), Created: int64(i)})
	}
	for _, pattern := range []string{"*/*", "1/*", "1/x*7", "*/*1*", "1/x1", "*/y*", "2*/x*"} {
		all := 0
		for _, list := range tree.Collect(pattern) {
			all += len(list)
		}
		if key.HasGlob(key.LastIndex(pattern)) && key.Parent(pattern) == "*" && all != 200 {
			t.Errorf("Collect(%s) has %d objects, want all 200", pattern, all)
		}
		var got []*Version
		for _, list := range Match(tree.Collect(pattern), pattern) {
			got = append(got, list...)
		}
		slices.SortFunc(got, CompareVersions)
		if want := tree.Select(Everything(pattern)); !slices.Equal(got, want) {
			t.Errorf("Match of Collect(%s) has %d objects, Select %d, or others", pattern, len(got), len(want))
		}
	}
}

// keepNewest takes away all but the newest objects of each directory.
func keepNewest(tree *Tree, newest int) {
	tree.state.Load().root.all(func(d *directory) {
		old := d.list.Len() - newest
		d.list.Scan(func(e entry) bool {
			if old--; old >= 0 {
				d.cells.set(e.cell, nil)
			}
			return true
		})
	})
}

// TestPagesLookAtNothingElse has pages of directories, lists from a rank on, and lists of a subtree with a limit, in a tree
// and in one four times as large.
func TestPagesLookAtNothingElse(t *testing.T) {
	const limit = 10
	for _, n := range []int{500, 2000} {
		t.Run(fmt.Sprint("directories of ", n), func(t *testing.T) {
			tree := New()
			for i := range n {
				tree.Put(meta.Object{Path: fmt.Sprintf("top/%05d/x", i)})
			}
			d, _ := tree.state.Load().dirs.Load("top")
			for _, name := range d.children.Keys() {
				if name < "00100" || name > "00111" { // the name behind which it begins, and the one that says there is more
					d.children.Set(name, nil)
				}
			}
			part, total, _, next := tree.Children("top", "00100", 0, limit)
			if len(part) != limit || part[0].Name != "00101" || total != n || next != "00110" {
				t.Errorf("the page is %v of %d, next %q", part, total, next)
			}
		})
		t.Run(fmt.Sprint("a rank in ", n), func(t *testing.T) {
			for _, descending := range []bool{false, true} {
				tree := New()
				for i := range n {
					tree.Put(meta.Object{Path: fmt.Sprintf("d/%05d", i), Created: int64(i)})
				}
				q := Everything("d/*")
				q.Offset, q.Limit, q.Descending = n/2, limit, descending
				want := tree.Select(q)
				d, _ := tree.state.Load().dirs.Load("d")
				d.list.Scan(func(e entry) bool {
					if !slices.Contains(want, d.at(e)) {
						d.cells.set(e.cell, nil)
					}
					return true
				})
				if got := tree.Select(q); len(got) != limit || !slices.Equal(got, want) {
					t.Errorf("descending %v: %d objects, or others", descending, len(got))
				}
			}
		})
		t.Run(fmt.Sprint("a subtree of ", n), func(t *testing.T) {
			tree := New()
			for i := range n {
				tree.Put(meta.Object{Path: []string{"s/a/", "s/b/c/", "s/"}[i%3] + fmt.Sprint(i), Created: int64(i)})
			}
			q := Everything("s/**")
			q.Limit, q.Descending = limit, true
			want := tree.Select(q)
			keepNewest(tree, limit+1)
			if got := tree.Select(q); len(got) != limit || got[0].Created() != int64(n-1) || !slices.Equal(got, want) {
				t.Errorf("%d objects, or others", len(got))
			}
		})
	}
}
