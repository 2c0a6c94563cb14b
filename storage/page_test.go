package storage

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// identified is a layer that has an id.
type identified struct {
	*fakeBatcher
	id uint64
}

func (l *identified) ID() (uint64, error) { return l.id, nil }

// A cursor is a place, whether or not its object is there still, and is good after a restart.
func TestCursorsStayValid(t *testing.T) {
	check := func(t *testing.T, s *Layered, restarts bool) {
		t.Helper()
		fillPages(t, s, 30)
		want, err := s.GetList("p/*/*")
		must(t, err)
		page, err := s.Page("p/*/*", ListOptions{Limit: 10})
		must(t, err)
		must(t, s.Del(want[9].Path)) // the place of the cursor
		must(t, s.Del(want[10].Path))
		must(t, second(s.SetWithMeta("p/0/new", json.RawMessage("1"), want[20].Created, 0)))
		if restarts {
			restart(t, s)
		}
		next, err := s.Page("p/*/*", ListOptions{Limit: 5, Cursor: page.Next})
		must(t, err)
		if !sameLists(next.Objects, want[11:16]) {
			t.Errorf("behind a cursor whose object is gone come %v", next.Objects)
		}
		again, err := s.Page("p/*/*", ListOptions{Limit: 5, Cursor: page.Next})
		if err != nil || !sameLists(again.Objects, next.Objects) || again.Next != next.Next {
			t.Errorf("a cursor used twice shows %v, %v", again.Objects, err)
		}
		from := want[14].Created
		rest, err := s.Page("p/*/*", ListOptions{Cursor: page.Next, From: &from})
		must(t, err)
		if len(rest.Objects) == 0 || rest.Objects[0].Created < from {
			t.Errorf("a cursor with a range shows %v", rest.Objects)
		}
		must(t, s.Del("p/*/*"))
		empty, err := s.Page("p/*/*", ListOptions{Cursor: page.Next})
		if err != nil || len(empty.Objects) != 0 || empty.Next != "" {
			t.Errorf("a cursor of an empty list shows %v, %v", empty, err)
		}
	}
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) { check(t, s, k.persistent) })
	t.Run("identified", func(t *testing.T) {
		check(t, withLayer(t, &identified{newFakeBatcher(), 7}), true)
	})
}

func TestBadCursors(t *testing.T) {
	layer := &identified{newFakeBatcher(), 7}
	s := withLayer(t, layer)
	fillPages(t, s, 30)
	next := func(s *Layered, pattern string, opt ListOptions) string {
		t.Helper()
		opt.Limit = 3
		page, err := s.Page(pattern, opt)
		must(t, err)
		if page.Next == "" {
			t.Fatalf("%s has no second page", pattern)
		}
		return page.Next
	}
	stranger := func(layer EmbeddedLayer) *Layered {
		other := withLayer(t, layer)
		fillPages(t, other, 30)
		return other
	}
	good := next(s, "p/0/*", ListOptions{})
	raw, err := base64.RawURLEncoding.DecodeString(good)
	must(t, err)
	altered := func(change func(raw []byte) []byte) string {
		return base64.RawURLEncoding.EncodeToString(change(slices.Clone(raw)))
	}
	memory := inMemory(t)
	fillPages(t, memory, 30)
	cursors := map[string]string{
		"text":                     "hello",
		"not of the alphabet":      "a+b/",
		"padded":                   good + "==",
		"cut off":                  good[:8],
		"without a path":           altered(func(raw []byte) []byte { return raw[:cursorHeader] }),
		"cut by a byte":            altered(func(raw []byte) []byte { return raw[:len(raw)-1] }),
		"of another version":       altered(func(raw []byte) []byte { raw[0]++; return raw }),
		"of another time":          altered(func(raw []byte) []byte { raw[12]++; return raw }),
		"of another sum":           altered(func(raw []byte) []byte { raw[2]++; return raw }),
		"of another object":        altered(func(raw []byte) []byte { raw[len(raw)-1]++; return raw }),
		"with a tail":              altered(func(raw []byte) []byte { return append(raw, 'x') }),
		"with spare bits":          good[:len(good)-1] + string(good[len(good)-1]+1),
		"of a pattern":             next(s, "p/1/*", ListOptions{}),
		"of all":                   next(s, "p/*/*", ListOptions{}),
		"of another direction":     next(s, "p/0/*", ListOptions{Descending: true}),
		"of another store":         next(stranger(&identified{newFakeBatcher(), 8}), "p/0/*", ListOptions{}),
		"of a store without an id": next(stranger(newFakeBatcher()), "p/0/*", ListOptions{}),
		"of a store in memory":     next(memory, "p/0/*", ListOptions{}),
		"of a plain sum of a place": altered(func(raw []byte) []byte {
			binary.BigEndian.PutUint32(raw[1:], crc32.Checksum(raw[5:], castagnoli))
			return raw
		}),
	}
	if _, err := s.Page("p/0/*", ListOptions{Cursor: good}); err != nil {
		t.Fatalf("the good cursor: %v", err)
	}
	for name, cursor := range cursors {
		if cursor == good {
			t.Errorf("the cursor %s is the good one", name)
		}
		if page, err := s.Page("p/0/*", ListOptions{Cursor: cursor}); !errors.Is(err, ErrInvalidCursor) || page.Objects != nil {
			t.Errorf("a cursor %s: %d objects, %v, want ErrInvalidCursor", name, len(page.Objects), err)
		}
		n := 0
		for _, err := range s.Iterate("p/0/*", ListOptions{Cursor: cursor}) {
			if n++; !errors.Is(err, ErrInvalidCursor) || n > 1 {
				t.Errorf("an iteration from a cursor %s: %v", name, err)
			}
		}
	}
	// A store in memory is another one after a restart.
	old := next(memory, "p/0/*", ListOptions{})
	restart(t, memory)
	if _, err := memory.Page("p/0/*", ListOptions{Cursor: old}); !errors.Is(err, ErrInvalidCursor) {
		t.Errorf("a cursor of a store that is gone: %v", err)
	}
}

// A cursor holds any place, also at the ends of time.
func TestCursorsOfOddPlaces(t *testing.T) {
	s := inMemory(t)
	times := []int64{math.MinInt64, -1, 0, 1, math.MaxInt64}
	for i, created := range times {
		for _, name := range []string{"A", "z", "_", "..."} {
			must(t, second(s.SetWithMeta("d/"+name+fmt.Sprint(i), json.RawMessage("1"), created, 0)))
		}
	}
	for _, descending := range []bool{false, true} {
		all, n := pages(t, s, "d/*", ListOptions{Limit: 1, Descending: descending})
		if len(all) != 20 || n != 20 {
			t.Errorf("descending %v: %d objects in %d pages, want 20", descending, len(all), n)
		}
	}
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

// A page that is read at once with the removal of what expires never shows a hole: with a limit it is full.
func TestPagesPassOverWhatIsExpired(t *testing.T) {
	inBubble(t, Options{}, nil, func(t *testing.T, _ kind, s *Layered, _ *fakeBatcher) {
		for i := range 30 {
			opt := SetOptions{Times: &Times{Created: int64(i)}}
			if i%3 != 0 {
				opt.TTL = time.Minute
			}
			_, err := s.SetWith(fmt.Sprintf("d/%d", i), json.RawMessage("1"), opt)
			must(t, err)
		}
		first, err := s.Page("d/*", ListOptions{Limit: 2})
		must(t, err)
		e := &s.run.Load().expirer
		e.mu.Lock()
		e.removing = true // as if a removal took its time
		e.mu.Unlock()
		time.Sleep(time.Minute)
		var got []int64
		opt := ListOptions{Limit: 2, Cursor: first.Next}
		for {
			page, err := s.Page("d/*", opt)
			must(t, err)
			for _, obj := range page.Objects {
				got = append(got, obj.Created)
			}
			if opt.Cursor = page.Next; page.Next == "" {
				break
			}
			if len(page.Objects) != 2 {
				t.Errorf("a page of %d in the middle", len(page.Objects))
			}
		}
		if want := []int64{3, 6, 9, 12, 15, 18, 21, 24, 27}; !slices.Equal(got, want) {
			t.Errorf("the pages show %v, want %v", got, want)
		}
	})
}
