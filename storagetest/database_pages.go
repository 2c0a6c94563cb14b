package storagetest

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks pages, iterations and counts, if a database offers them.

var pageClauses = []Clause{
	{"DATABASE-C0", "The pages that follow each other show a list, in its order, whatever their limit, range and direction.", onPager(pagesShowLists)},
	{"DATABASE-C1", "Pages show each object that is there all the time exactly once, whatever is written meanwhile.", onPager(pagesBesideWrites)},
	{"DATABASE-C2", "A cursor of another pattern or direction, or one that was changed, is ErrInvalidCursor.", onPager(cursorInvalid)},
	{"DATABASE-C3", "A cursor is a place: it is good when its object is gone, and after a restart of a persistent database.", onPager(cursorStays)},
	{"DATABASE-C4", "Iterate yields a list in its order, from a cursor on; an error comes last.", onPager(iterateYields)},
	{"DATABASE-C5", "Count is how many objects a list has.", onPager(countCounts)},
	{"DATABASE-C6", "Directories names what is directly below a path, with its objects and directories.", onPager(directoriesName)},
	{"DATABASE-C7", "Page, Iterate, Count and Directories refuse what lists refuse; a page without a limit has 100 objects at most.", onPager(pageInvalid)},
	{"DATABASE-C8", "BeforeRead runs once for each Page, Iterate, Count and Directories.", pageHook},
}

// pager has the read calls of *storage.Layered beyond a Database.
type pager interface {
	Page(pattern string, opt storage.ListOptions) (storage.Page, error)
	Iterate(pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error]
	Count(pattern string) (int, error)
	Directories(path string) ([]storage.Directory, error)
}

// onPager returns the run of a clause. It checks nothing if the database has no pages.
func onPager(check func(t T, s *subject, db storage.Database, p pager)) func(T, *subject) {
	return onDatabase(func(t T, s *subject, db storage.Database) {
		t.Helper()
		p, ok := db.(pager)
		if !ok {
			t.Logf("%T has no Page: nothing is checked", db)
			return
		}
		check(t, s, db, p)
	})
}

// follow returns the objects of all pages, from the first to the last.
func follow(t T, p pager, pattern string, opt storage.ListOptions) []meta.Object {
	t.Helper()
	all := []meta.Object{}
	for range 1000 {
		page, err := p.Page(pattern, opt)
		must(t, describe("Page", pattern), err)
		all = append(all, page.Objects...)
		if len(page.Objects) > opt.Limit {
			t.Errorf("%s: a page of %d objects, the limit is %d", describe("Page", pattern), len(page.Objects), opt.Limit)
		}
		if opt.Cursor = page.Next; page.Next == "" {
			return all
		}
	}
	t.Fatalf("%s: a thousand pages of %d and no end", describe("Page", pattern), opt.Limit)
	return nil
}

// iterated returns the objects of an iteration.
func iterated(t T, p pager, pattern string, opt storage.ListOptions) []meta.Object {
	t.Helper()
	all := []meta.Object{}
	for obj, err := range p.Iterate(pattern, opt) {
		must(t, describe("Iterate", pattern), err)
		all = append(all, obj)
	}
	return all
}

// listed returns a list by a direction and a range, from the model.
func listed(model *Model, pattern string, opt storage.ListOptions) []meta.Object {
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if opt.From != nil {
		from = *opt.From
	}
	if opt.To != nil {
		to = *opt.To
	}
	list := model.Range(pattern, from, to)
	if opt.Descending {
		slices.Reverse(list)
	}
	return list
}

// fillPages stores objects, several of them with the same time.
func fillPages(t T, db storage.Database) *Model {
	t.Helper()
	model := NewModel()
	for i := range int64(24) {
		obj := object(fmt.Sprintf("pg/%d/%02d", i%2, i), (i*7)%9)
		model.Put(obj)
		setAt(t, db, obj)
	}
	return model
}

// listOptions returns directions and ranges.
func listOptions() (all []storage.ListOptions) {
	at := func(n int64) *int64 { return &n }
	for _, descending := range []bool{false, true} {
		for _, r := range [][2]*int64{{nil, nil}, {at(3), nil}, {nil, at(6)}, {at(2), at(7)}, {at(4), at(4)}, {at(99), nil}} {
			all = append(all, storage.ListOptions{Descending: descending, From: r[0], To: r[1]})
		}
	}
	return all
}

func pagesShowLists(t T, _ *subject, db storage.Database, p pager) {
	model := fillPages(t, db)
	for _, opt := range listOptions() {
		for _, pattern := range []string{"pg/0/*", "pg/*/*", "pg/1/1*", "none/*"} {
			want := listed(model, pattern, opt)
			for _, limit := range []int{1, 3, 12, 24, 100} {
				opt.Limit = limit
				wantPaths(t, fmt.Sprintf("pages of %d of %s, descending %v", limit, pattern, opt.Descending),
					paths(follow(t, p, pattern, opt)), paths(want))
			}
		}
	}
	page, err := p.Page("pg/0/*", storage.ListOptions{Limit: 2})
	must(t, "Page", err)
	for _, obj := range page.Objects {
		wantClipped(t, "Page", obj.Data)
		if d := diff(obj, get(t, db, obj.Path)); d != "" {
			t.Errorf("Page, %s differs from Get: %s", obj.Path, d)
		}
	}
	page, err = p.Page("none/*", storage.ListOptions{})
	if err != nil || page.Objects == nil || len(page.Objects) != 0 || page.Next != "" {
		t.Errorf("Page of an empty list is %#v (error %v), want an empty list, not nil, and no next one", page, err)
	}
}

func pagesBesideWrites(t T, s *subject, db storage.Database, p pager) {
	const stay = 20
	// Each page permits a limited number of concurrent writes. Without a limit they would continue for as long as the
	// engine reads what they overwrite.
	pages := make(chan struct{}, 1)
	for i := range int64(stay) {
		setAt(t, db, object(fmt.Sprintf("w/stays%02d", i), i*10))
	}
	s.together(t, 2, func(g int) {
		if g == 0 {
			for i := int64(0); ; i++ {
				if i%8 == 0 {
					if _, more := <-pages; !more {
						return
					}
				}
				path := fmt.Sprintf("w/comes%d", i*5%7)
				_, err := db.SetWithMeta(path, dataOf(i), i*37%200, 0)
				if err == nil && i%3 == 0 {
					err = db.Del(path)
				}
				if err == nil {
					_, err = db.Set(fmt.Sprintf("w/stays%02d", i%stay), dataOf(i))
				}
				if err != nil {
					t.Errorf("a write beside pages: %v", err)
					return
				}
			}
		}
		defer close(pages)
		for round := range 25 {
			s.beats.advance()
			opt := storage.ListOptions{Limit: 1 + round%4, Descending: round%2 == 0}
			seen := make(map[string]int)
			for {
				select {
				case pages <- struct{}{}:
				default: // the writes for the previous page are still running
				}
				page, err := p.Page("w/*", opt)
				if err != nil {
					t.Errorf("Page: %v", err)
					return
				}
				for _, obj := range page.Objects {
					seen[obj.Path]++
				}
				if opt.Cursor = page.Next; page.Next == "" {
					break
				}
			}
			for i := range stay {
				if path := fmt.Sprintf("w/stays%02d", i); seen[path] != 1 {
					t.Errorf("pages of %d beside writes show %s %d times", opt.Limit, path, seen[path])
					return
				}
			}
		}
	})
}

// next returns the cursor of the second page.
func next(t T, p pager, pattern string, opt storage.ListOptions) string {
	t.Helper()
	page, err := p.Page(pattern, opt)
	must(t, "Page", err)
	if page.Next == "" {
		t.Fatalf("%s has no second page of %d", describe("Page", pattern), opt.Limit)
	}
	return page.Next
}

func cursorInvalid(t T, _ *subject, db storage.Database, p pager) {
	fillPages(t, db)
	up := storage.ListOptions{Limit: 3}
	good := next(t, p, "pg/0/*", up)
	bad := map[string]string{
		"another pattern":   next(t, p, "pg/1/*", up),
		"a wider pattern":   next(t, p, "pg/*/*", up),
		"another direction": next(t, p, "pg/0/*", storage.ListOptions{Limit: 3, Descending: true}),
		"rubbish":           "rubbish",
		"a cut":             good[:len(good)-1],
		"a tail":            good + "A",
		"no alphabet":       "!" + good[1:],
	}
	for i := range good {
		other := byte('A')
		if good[i] == other {
			other = 'B'
		}
		bad[fmt.Sprintf("a change at %d", i)] = good[:i] + string(other) + good[i+1:]
	}
	for name, cursor := range bad {
		_, err := p.Page("pg/0/*", storage.ListOptions{Cursor: cursor})
		wantErr(t, "Page with a cursor of "+name, err, storage.ErrInvalidCursor)
		for _, err := range p.Iterate("pg/0/*", storage.ListOptions{Cursor: cursor}) {
			wantErr(t, "Iterate with a cursor of "+name, err, storage.ErrInvalidCursor)
		}
	}
	page, err := p.Page("pg/0/*", storage.ListOptions{Cursor: good})
	must(t, "Page with a good cursor", err)
	if len(page.Objects) == 0 {
		t.Errorf("Page with a good cursor has no objects")
	}
}

func cursorStays(t T, s *subject, db storage.Database, p pager) {
	model := fillPages(t, db)
	want := paths(model.List("pg/*/*"))
	cursor := next(t, p, "pg/*/*", storage.ListOptions{Limit: 8})
	must(t, "Del of the object at a cursor", db.Del(want[7]))
	must(t, "Del of the object behind a cursor", db.Del(want[8]))
	if s.Persistent {
		db = s.restarted(t, db)
		var ok bool
		if p, ok = db.(pager); !ok {
			t.Fatalf("%T has no Page after a restart", db)
		}
	}
	for range 2 {
		page, err := p.Page("pg/*/*", storage.ListOptions{Limit: 5, Cursor: cursor})
		must(t, "Page behind an object that is gone", err)
		wantPaths(t, "Page behind an object that is gone", paths(page.Objects), want[9:14])
	}
}

func iterateYields(t T, _ *subject, db storage.Database, p pager) {
	model := fillPages(t, db)
	for _, opt := range listOptions() {
		for _, pattern := range []string{"pg/0/*", "pg/*/*", "none/*"} {
			wantPaths(t, fmt.Sprintf("%s, descending %v", describe("Iterate", pattern), opt.Descending),
				paths(iterated(t, p, pattern, opt)), paths(listed(model, pattern, opt)))
		}
	}
	want := paths(model.List("pg/*/*"))
	cursor := next(t, p, "pg/*/*", storage.ListOptions{Limit: 8})
	wantPaths(t, "Iterate from a cursor", paths(iterated(t, p, "pg/*/*", storage.ListOptions{Cursor: cursor})), want[8:])
	for obj, err := range p.Iterate("pg/*/*", storage.ListOptions{}) {
		must(t, "Iterate", err)
		if obj.Path != want[0] {
			t.Errorf("Iterate begins with %s, want %s", obj.Path, want[0])
		}
		break
	}
	// More than one read at a time.
	for i := range int64(700) {
		setAt(t, db, object(fmt.Sprintf("long/%03d", i), i))
	}
	if n := len(iterated(t, p, "long/*", storage.ListOptions{Limit: 5})); n != 700 {
		t.Errorf("Iterate yields %d of 700 objects", n)
	}
	n, last := 0, error(nil)
	for _, err := range p.Iterate("long/*", storage.ListOptions{}) {
		if n++; n == 1 {
			db.Close()
		}
		last = err
	}
	if last == nil && n < 700 {
		t.Errorf("Iterate over a Close ends after %d of 700 objects without an error", n)
	} else if last != nil {
		wantErr(t, "Iterate over a Close", last, storage.ErrNotActive)
	}
}

func countCounts(t T, _ *subject, db storage.Database, p pager) {
	for i, path := range tree {
		setAt(t, db, object(path, int64(i)))
	}
	check := func() {
		t.Helper()
		for _, glob := range globs {
			list, err := db.GetList(glob)
			must(t, "GetList", err)
			if n, err := p.Count(glob); err != nil || n != len(list) {
				t.Errorf("%s is %d (error %v), the list has %d objects", describe("Count", glob), n, err, len(list))
			}
		}
	}
	check()
	must(t, "Del", db.Del("users/1*"))
	set(t, db, "users/11", 1)
	check()
	db.Clear()
	check()
}

func directoriesName(t T, _ *subject, db storage.Database, p pager) {
	check := func(path string, want ...storage.Directory) {
		t.Helper()
		got, err := p.Directories(path)
		if err != nil || got == nil || !slices.Equal(got, want) {
			t.Errorf("%s is %v (error %v), want %v, not nil", describe("Directories", path), got, err, want)
		}
	}
	check("")
	for i, path := range []string{"root", "d/1", "d/2", "d/e/1", "d/e/f/g/1", "d-x/1", "D/e/1"} {
		set(t, db, path, int64(i))
	}
	check("", storage.Directory{Name: "D", Directories: 1}, storage.Directory{Name: "d", Objects: 2, Directories: 1},
		storage.Directory{Name: "d-x", Objects: 1})
	check("d", storage.Directory{Name: "e", Objects: 1, Directories: 1})
	check("d/e", storage.Directory{Name: "f", Directories: 1})
	check("d/e/f/g")
	check("none")
	check("root")
	must(t, "Del", db.Del("d/e/f/g/1"))
	check("d/e")
	must(t, "Del of a glob", db.Del("*/e/*"))
	check("", storage.Directory{Name: "d", Objects: 2}, storage.Directory{Name: "d-x", Objects: 1})
}

func pageInvalid(t T, _ *subject, db storage.Database, p pager) {
	for i := range int64(101) {
		set(t, db, fmt.Sprintf("a/%03d", i), i)
	}
	page, err := p.Page("a/*", storage.ListOptions{})
	if err != nil || len(page.Objects) != 100 || page.Next == "" {
		t.Errorf("Page without a limit has %d of 101 objects (error %v), want 100 and a next one", len(page.Objects), err)
	}
	_, err = p.Page("a/*", storage.ListOptions{Limit: -1})
	wantErr(t, "Page with limit -1", err, storage.ErrInvalidLimit)
	calls := map[string]func(pattern string) error{
		"Page":    func(pattern string) error { _, err := p.Page(pattern, storage.ListOptions{}); return err },
		"Count":   func(pattern string) error { _, err := p.Count(pattern); return err },
		"Iterate": func(pattern string) error { return lastError(p.Iterate(pattern, storage.ListOptions{})) },
	}
	for name, call := range calls {
		wantErr(t, name+" of a path", call("a/001"), storage.ErrInvalidPattern)
		for _, c := range slices.Concat(invalidPaths, invalidPatterns) {
			wantErr(t, name+", "+c.name, call(c.path), storage.ErrInvalidPath)
		}
	}
	from, to := int64(2), int64(1)
	back := storage.ListOptions{From: &from, To: &to}
	_, err = p.Page("a/*", back)
	wantErr(t, "Page of a range that ends before it begins", err, storage.ErrInvalidRange)
	wantErr(t, "Iterate of a range that ends before it begins", lastError(p.Iterate("a/*", back)), storage.ErrInvalidRange)
	_, err = p.Directories("a/*")
	wantErr(t, "Directories of a glob", err, storage.ErrGlobNotAllowed)
	_, err = p.Directories("a/")
	wantErr(t, "Directories of an invalid path", err, storage.ErrInvalidPath)
}

// lastError returns the error that ends an iteration.
func lastError(all iter.Seq2[meta.Object, error]) (last error) {
	for _, err := range all {
		last = err
	}
	return last
}

func pageHook(t T, s *subject) {
	var hook recording
	db := s.started(t, storage.Options{BeforeRead: hook.add})
	p, ok := db.(pager)
	if !ok {
		t.Logf("%T has no Page: nothing is checked", db)
		return
	}
	for i := range int64(600) {
		_, err := db.Set(fmt.Sprintf("a/%d", i), dataOf(i))
		must(t, "Set", err)
	}
	hook.take()
	for name, call := range map[string]func() error{
		"Page a/*":      func() error { _, err := p.Page("a/*", storage.ListOptions{Limit: 9}); return err },
		"Count a/*":     func() error { _, err := p.Count("a/*"); return err },
		"Iterate a/*":   func() error { return lastError(p.Iterate("a/*", storage.ListOptions{})) },
		"Directories a": func() error { _, err := p.Directories("a"); return err },
	} {
		must(t, name, call())
		var want string
		_, err := fmt.Sscanf(name, "%s %s", new(string), &want)
		must(t, "the name of a call", err)
		if got := hook.take(); !slices.Equal(got, []string{want}) {
			t.Errorf("BeforeRead calls of %s: %q, want %q once", name, got, want)
		}
	}
}
