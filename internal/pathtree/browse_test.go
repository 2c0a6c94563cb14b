package pathtree

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Whoever follows the positions, with any limit and in any direction, sees what a single list shows.
func TestPagesMakeTheList(t *testing.T) {
	r := testrand.New(t)
	tree := New()
	for i := range 400 {
		path := fmt.Sprintf("%s/%s/%d", testrand.Pick(r, "a", "b", "c"), testrand.Pick(r, "x", "y"), i)
		obj := meta.Object{Path: path, Index: key.LastIndex(path), Created: int64(r.IntN(40)), Revision: uint64(i)}
		if r.IntN(10) == 0 {
			obj.Expires = past
		}
		tree.Put(obj)
	}
	for _, pattern := range []string{"a/x/*", "*/x/*", "*/*/*", "a/*/1*", "*/*/7"} {
		for _, descending := range []bool{false, true} {
			for _, limit := range []int{1, 2, 7, 100, 1000} {
				whole := Everything(pattern)
				whole.Descending, whole.From, whole.To = descending, 3, 36
				want := tree.Select(whole)
				var got []*Version
				for q := whole; ; {
					q.Limit = limit
					page := tree.Select(q)
					got = append(got, page...)
					if len(page) < limit {
						break
					}
					last := page[limit-1]
					q.After = &Position{last.created, last.Path()}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s, descending %v: pages of %d show %d objects, the list %d, or in another order",
						pattern, descending, limit, len(got), len(want))
				}
			}
		}
	}
}

// A position need not be the place of an object: it may be before, between, behind and
// outside of a range.
func TestPositions(t *testing.T) {
	tree := New()
	for _, obj := range []meta.Object{
		{Path: "a/1", Created: 10}, {Path: "a/2", Created: 10}, {Path: "b/1", Created: 10}, {Path: "a/3", Created: 20}, {Path: "b/0", Created: 30},
	} {
		tree.Put(obj)
	}
	tests := []struct {
		name       string
		after      Position
		descending bool
		from, to   int64
		want       string
	}{
		{"before all", Position{9, "z"}, false, 0, 99, "[a/1 a/2 b/1 a/3 b/0]"},
		{"on the first", Position{10, "a/1"}, false, 0, 99, "[a/2 b/1 a/3 b/0]"},
		{"between two of one time", Position{10, "a/11"}, false, 0, 99, "[a/2 b/1 a/3 b/0]"},
		{"last of its time", Position{10, "b/1"}, false, 0, 99, "[a/3 b/0]"},
		{"between two times", Position{15, ""}, false, 0, 99, "[a/3 b/0]"},
		{"on the last", Position{30, "b/0"}, false, 0, 99, "[]"},
		{"behind all", Position{31, ""}, false, 0, 99, "[]"},
		{"before the range", Position{5, "a"}, false, 20, 99, "[a/3 b/0]"},
		{"behind the range", Position{25, "a"}, false, 0, 20, "[]"},
		{"down from above", Position{31, ""}, true, 0, 99, "[b/0 a/3 b/1 a/2 a/1]"},
		{"down from the last", Position{30, "b/0"}, true, 0, 99, "[a/3 b/1 a/2 a/1]"},
		{"down within a time", Position{10, "b/0"}, true, 0, 99, "[a/2 a/1]"},
		{"down from the start of a time", Position{10, ""}, true, 0, 99, "[]"},
		{"down from the first", Position{10, "a/1"}, true, 0, 99, "[]"},
		{"down from above the range", Position{30, "b/0"}, true, 0, 20, "[a/3 b/1 a/2 a/1]"},
		{"down from below the range", Position{10, "z"}, true, 20, 99, "[]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, limit := range []int{0, 1, 3} {
				q := Query{Pattern: "*/*", From: test.from, To: test.to, Descending: test.descending, Limit: limit, After: &test.after}
				paths := []string{}
				for _, obj := range tree.Select(q) {
					paths = append(paths, obj.Path())
				}
				q.Limit = 0
				if all := tree.Select(q); limit > 0 && len(paths) != min(limit, len(all)) {
					t.Errorf("limit %d: %v of %d", limit, paths, len(all))
				}
				if got := fmt.Sprint(paths); limit == 0 && got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			}
		})
	}
}

// An object is there until the instant of its end, and from then on in no read but Stored.
func TestExpiryComesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := New()
		end := time.Now().Add(time.Minute).UnixNano()
		tree.Put(meta.Object{Path: "d/a/1", Index: "1", Created: 1, Expires: end})
		tree.Put(meta.Object{Path: "d/2", Index: "2", Created: 2, Expires: end + 1})
		check := func(when string, one, two bool) {
			t.Helper()
			for path, want := range map[string]bool{"d/a/1": one, "d/2": two} {
				_, got := tree.Get(path)
				_, stored := tree.Stored(path)
				count, list := tree.Count(path, 0), tree.Select(Everything(key.Parent(path)+"/*"))
				exact := tree.Select(Everything(key.Parent(path) + "*/" + key.LastIndex(path)))
				shows := []bool{got, count == 1, len(list) == 1, len(exact) == 1, slices.Contains(tree.Paths(0), path)}
				if !stored || slices.Contains(shows, !want) {
					t.Errorf("%s: %s is shown by %v, want %v; stored %v", when, path, shows, want, stored)
				}
			}
			if got := len(tree.All(0)); got != btoi(one)+btoi(two) || tree.Len() != 2 {
				t.Errorf("%s: All has %d objects, Len is %d", when, got, tree.Len())
			}
			want := []Child{}
			if one || two {
				want = append(want, Child{"d", btoi(two), btoi(one)})
			}
			if got := children(tree); !slices.Equal(got, want) {
				t.Errorf("%s: Children = %v, want %v", when, got, want)
			}
		}
		check("at first", true, true)
		time.Sleep(time.Minute - 1)
		check("a nanosecond before the end", true, true)
		time.Sleep(1)
		check("at the end of one", false, true)
		time.Sleep(1)
		check("at the end of both", false, false)

		at := Everything("*/*")
		at.At = end
		if got := tree.Select(at); len(got) != 1 || got[0].Path() != "d/2" {
			t.Errorf("Select at an earlier time = %v, want d/2", got)
		}
		if got := tree.Count("d/*", end); got != 1 || tree.Count("d/*", end+1) != 0 {
			t.Errorf("Count at an earlier time = %d, want 1, and then 0", got)
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// children are all directories at the top.
func children(tree *Tree) []Child {
	all, _, _, _ := tree.Children("", "", 0, 0)
	return all
}
