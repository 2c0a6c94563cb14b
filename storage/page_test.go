package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

// fillPages stores n objects in two directories, several of each time, in no order.
func fillPages(t testing.TB, s *Layered, n int) {
	t.Helper()
	for i := range n {
		path := fmt.Sprintf("p/%d/%d", i%2, i)
		must(t, second(s.SetWithMeta(path, json.RawMessage(fmt.Sprint(i)), int64(i*7919%n/3), 0)))
	}
}

// pages follows the cursors to the end.
func pages(t testing.TB, s *Layered, pattern string, opt ListOptions) (all []meta.Object, n int) {
	t.Helper()
	for {
		page, err := s.Page(pattern, opt)
		must(t, err)
		all = append(all, page.Objects...)
		n++
		if opt.Cursor = page.Next; page.Next == "" {
			return all, n
		}
		if limit := opt.Limit; len(page.Objects) != limit && limit > 0 {
			t.Fatalf("a page of %d in the middle, want %d", len(page.Objects), limit)
		}
	}
}

func sameLists(a, b []meta.Object) bool { return slices.EqualFunc(a, b, same) }

// Pages and iterations show what a list shows, in its order, with any limit, range and direction.
func TestPagesShowTheList(t *testing.T) {
	const n = 60
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) {
		fillPages(t, s, n)
		at := func(i int64) *int64 { return &i }
		ranges := [][2]*int64{{nil, nil}, {at(5), nil}, {nil, at(15)}, {at(5), at(15)}, {at(7), at(7)}, {at(500), nil}, {at(math.MinInt64), at(math.MaxInt64)}}
		for _, pattern := range []string{"p/0/*", "p/*/*", "p/1/1*", "*/*/7", "none/*"} {
			for _, r := range ranges {
				from, to := int64(math.MinInt64), int64(math.MaxInt64)
				if r[0] != nil {
					from = *r[0]
				}
				if r[1] != nil {
					to = *r[1]
				}
				want, err := s.GetNRange(pattern, n, from, to)
				must(t, err)
				for _, descending := range []bool{true, false} {
					if !descending {
						slices.Reverse(want)
					}
					opt := ListOptions{Descending: descending, From: r[0], To: r[1]}
					for _, limit := range []int{1, 2, 7, len(want), len(want) + 1, math.MaxInt, 0} {
						if opt.Limit = limit; limit == 0 && len(want) == 0 {
							continue
						}
						got, count := pages(t, s, pattern, opt)
						if !sameLists(got, want) {
							t.Errorf("%s %+v: pages show %d objects, the list %d, or in another order", pattern, opt, len(got), len(want))
						}
						if limit > 0 && count != max(1, (len(want)+limit-1)/limit) {
							t.Errorf("%s %+v: %d pages for %d objects", pattern, opt, count, len(want))
						}
					}
					var got []meta.Object
					for obj, err := range s.Iterate(pattern, opt) {
						must(t, err)
						got = append(got, obj)
					}
					if !sameLists(got, want) {
						t.Errorf("%s %+v: an iteration shows %d objects, the list %d, or in another order", pattern, opt, len(got), len(want))
					}
				}
			}
		}
	})
}

func TestPageIsAHundredByDefault(t *testing.T) {
	s := inMemory(t)
	for i := range 101 {
		set(t, s, numbered(i), "1")
	}
	page, err := s.Page("k/*", ListOptions{})
	if err != nil || len(page.Objects) != 100 || page.Next == "" {
		t.Errorf("a page of %d, next %q, %v", len(page.Objects), page.Next, err)
	}
	must(t, s.Del(numbered(100)))
	page, err = s.Page("k/*", ListOptions{})
	if err != nil || len(page.Objects) != 100 || page.Next != "" {
		t.Errorf("a page of all %d has the next %q, %v", len(page.Objects), page.Next, err)
	}
	page, err = s.Page("none/*", ListOptions{})
	if err != nil || page.Objects == nil || len(page.Objects) != 0 || page.Next != "" {
		t.Errorf("a page of nothing is %#v, %v, want an empty list, not nil", page, err)
	}
}

// An iteration is longer than what it reads at once, can be left, and goes on from a cursor.
func TestIterateFarAndFromACursor(t *testing.T) {
	const n = 1000
	s := inMemory(t)
	fillPages(t, s, n)
	want, err := s.GetList("p/*/*")
	must(t, err)
	i := 0
	for obj, err := range s.Iterate("p/*/*", ListOptions{Limit: 3}) {
		must(t, err)
		if !same(obj, want[i]) {
			t.Fatalf("object %d is %s, want %s", i, show(obj), show(want[i]))
		}
		i++
	}
	if i != n {
		t.Errorf("an iteration of %d objects, want %d", i, n)
	}
	for range s.Iterate("p/*/*", ListOptions{}) {
		break
	}
	page, err := s.Page("p/*/*", ListOptions{Limit: 990})
	must(t, err)
	i = 990
	for obj, err := range s.Iterate("p/*/*", ListOptions{Cursor: page.Next}) {
		must(t, err)
		if !same(obj, want[i]) {
			t.Fatalf("behind a cursor object %d is %s, want %s", i, show(obj), show(want[i]))
		}
		i++
	}
	if i != n {
		t.Errorf("an iteration from a cursor ends at %d, want %d", i, n)
	}
}

// While others write, the pages show each object that is there all the time exactly once, in order.
func TestPagesWhileOthersWrite(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) {
		const n = 60
		for i := range n {
			must(t, second(s.SetWithMeta(fmt.Sprintf("d/stays%d", i), json.RawMessage("1"), int64(i*100), 0)))
		}
		var done atomic.Bool
		var writers sync.WaitGroup
		for g := range 2 {
			writers.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 1))
				for i := 0; !done.Load(); i++ {
					path := fmt.Sprintf("d/%d-%d", g, r.IntN(40))
					var err error
					switch i % 4 {
					case 0:
						err = s.Del(path)
					case 1:
						_, err = s.Set(fmt.Sprintf("d/stays%d", r.IntN(n)), json.RawMessage("2"))
					default:
						_, err = s.SetWithMeta(path, json.RawMessage("1"), int64(r.IntN(n*100)), 0)
					}
					if err != nil && !errors.Is(err, ErrNotFound) {
						t.Error(err)
					}
				}
			})
		}
		for round := range 30 {
			opt := ListOptions{Descending: round%2 == 1, Limit: 1 + round%9}
			all, _ := pages(t, s, "d/*", opt)
			if round%3 == 0 {
				all = all[:0]
				for obj, err := range s.Iterate("d/*", opt) {
					must(t, err)
					all = append(all, obj)
				}
			}
			stays := make(map[string]int)
			for i, obj := range all {
				if obj.Created%100 == 0 {
					stays[obj.Path]++
				}
				if i > 0 {
					last := all[i-1]
					if order := obj.Created < last.Created || obj.Created == last.Created && obj.Path <= last.Path; order != opt.Descending {
						t.Errorf("%s comes behind %s, descending %v", show(obj), show(last), opt.Descending)
					}
				}
			}
			for i := range n {
				if path := fmt.Sprintf("d/stays%d", i); stays[path] != 1 {
					t.Errorf("%s was shown %d times", path, stays[path])
				}
			}
		}
		done.Store(true)
		writers.Wait()
	})
}

func TestInvalidPages(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		set(t, s, "a/b", "1")
		one, two := int64(1), int64(2)
		calls := []struct {
			name    string
			pattern string
			opt     ListOptions
			want    error
			page    bool // the error is one of Page only
		}{
			{"path", "a/b", ListOptions{}, ErrInvalidPattern, false},
			{"invalid pattern", "a//*", ListOptions{}, ErrInvalidPath, false},
			{"no pattern", "", ListOptions{}, ErrInvalidPath, false},
			{"negative limit", "a/*", ListOptions{Limit: -1}, ErrInvalidLimit, true},
			{"range", "a/*", ListOptions{From: &two, To: &one}, ErrInvalidRange, false},
		}
		for _, c := range calls {
			if _, err := s.Page(c.pattern, c.opt); !errors.Is(err, c.want) {
				t.Errorf("Page, %s: %v, want %v", c.name, err, c.want)
			}
			for _, err := range s.Iterate(c.pattern, c.opt) {
				if !c.page && !errors.Is(err, c.want) || c.page && err != nil {
					t.Errorf("Iterate, %s: %v, want %v", c.name, err, c.want)
				}
			}
		}
		for _, c := range calls[:3] {
			if _, err := s.Count(c.pattern); !errors.Is(err, c.want) {
				t.Errorf("Count, %s: %v, want %v", c.name, err, c.want)
			}
		}
		for path, want := range map[string]error{"a/*": ErrGlobNotAllowed, "a/": ErrInvalidPath, "/": ErrInvalidPath} {
			if _, err := s.Directories(path); !errors.Is(err, want) {
				t.Errorf("Directories of %q: %v, want %v", path, err, want)
			}
		}
		if k.fromLayer {
			broken := errors.New("broken layer")
			fake.onCall(func(string, string) error { return broken })
			_, pageErr := s.Page("a/*", ListOptions{})
			_, countErr := s.Count("a/*")
			_, dirErr := s.Directories("")
			var iterErr error
			for _, err := range s.Iterate("a/*", ListOptions{}) {
				iterErr = err
			}
			for i, err := range []error{pageErr, countErr, dirErr, iterErr} {
				if !errors.Is(err, broken) {
					t.Errorf("call %d over a broken layer: %v", i, err)
				}
			}
			fake.onCall(nil)
		}
		next := 0
		for _, err := range s.Iterate("a/*", ListOptions{}) {
			if next++; next == 1 {
				must(t, err)
				s.Close()
			}
		}
		if next != 1 {
			t.Errorf("an iteration that was at its end when the store was closed went on: %d", next)
		}
		_, pageErr := s.Page("a/*", ListOptions{Cursor: "x"})
		_, countErr := s.Count("a/*")
		_, dirErr := s.Directories("")
		var iterErr error
		for _, err := range s.Iterate("a/*", ListOptions{}) {
			iterErr = err
		}
		for i, err := range []error{pageErr, countErr, dirErr, iterErr} {
			if !errors.Is(err, ErrNotActive) {
				t.Errorf("call %d after Close: %v", i, err)
			}
		}
	})
}

// An iteration that a Close, or a Close and a Start, overtakes ends with an error, and not as if it had seen all.
func TestIterateOverAClose(t *testing.T) {
	for _, again := range []bool{false, true} {
		s := inMemory(t)
		for i := range 600 {
			set(t, s, numbered(i), "1")
		}
		n := 0
		var last error
		for _, err := range s.Iterate("k/*", ListOptions{}) {
			if n++; n == 1 {
				s.Close()
				if again {
					must(t, s.Start(Options{}))
				}
			}
			last = err
		}
		if !errors.Is(last, ErrNotActive) || n >= 600 {
			t.Errorf("started again %v: after %d objects the error is %v, want ErrNotActive", again, n, last)
		}
	}
}

func TestBeforeReadRunsOnce(t *testing.T) {
	var read hooks
	each(t, Options{BeforeRead: read.run}, nil, func(t *testing.T, _ kind, s *Layered, _ *fakeBatcher) {
		for i := range 600 {
			set(t, s, numbered(i), "1")
		}
		read.paths()
		calls := map[string]func(pattern string){
			"Page":  func(p string) { _, err := s.Page(p, ListOptions{Limit: 7}); must(t, err) },
			"Count": func(p string) { _, err := s.Count(p); must(t, err) },
			"Iterate": func(p string) {
				for _, err := range s.Iterate(p, ListOptions{}) {
					must(t, err)
				}
			},
		}
		for name, call := range calls {
			call("k/*")
			if paths := read.paths(); !slices.Equal(paths, []string{"k/*"}) {
				t.Errorf("%s: BeforeRead ran for %q", name, paths)
			}
		}
		_, err := s.Directories("k")
		must(t, err)
		if paths := read.paths(); !slices.Equal(paths, []string{"k"}) {
			t.Errorf("Directories: BeforeRead ran for %q", paths)
		}
		_, _ = s.Page("k", ListOptions{})
		_, _ = s.Page("k/*", ListOptions{Cursor: "x"})
		_, _ = s.Count("k//*")
		if paths := read.paths(); len(paths) != 0 {
			t.Errorf("BeforeRead ran for %q of calls that were refused", paths)
		}
	})
}

func TestDirectoriesAndCounts(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, _ kind, s *Layered, _ *fakeBatcher) {
		check := func(path string, want ...Directory) {
			t.Helper()
			got, err := s.Directories(path)
			if err != nil || got == nil || !slices.Equal(got, want) {
				t.Errorf("Directories(%q) = %v, %v, want %v", path, got, err, want)
			}
		}
		check("")
		check("none")
		for _, path := range []string{"a", "b/1", "b/2", "b/c/1", "b/c/d/e/1", "b-x/1", "B/c/1", "b/C/1"} {
			set(t, s, path, "1")
		}
		check("", Directory{"B", 0, 1}, Directory{"b", 2, 2}, Directory{"b-x", 1, 0})
		check("b", Directory{"C", 1, 0}, Directory{"c", 1, 1})
		check("b/c", Directory{"d", 0, 1})
		check("b/c/d", Directory{"e", 1, 0})
		check("b/c/d/e")
		check("a")
		check("b/1")
		for pattern, want := range map[string]int{"*": 1, "b/*": 2, "*/*": 3, "*/c/*": 2, "b*/1": 2, "b/c/d/e/*": 1, "none/*": 0, "*/*/*": 3, "b/1*": 1} {
			if got, err := s.Count(pattern); got != want || err != nil {
				t.Errorf("Count(%q) = %d, %v, want %d", pattern, got, err, want)
			}
		}
		must(t, s.Del("b/c/d/e/1"))
		check("b/c")
		must(t, s.Del("*/c/*"))
		check("", Directory{"b", 2, 1}, Directory{"b-x", 1, 0})
		must(t, s.Truncate())
		check("")
	})
}
