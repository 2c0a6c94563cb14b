package storagetest

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks the revisions of reads, and pages by rank and of directories.

var browseClauses = []Clause{
	{"DATABASE-CC", "Revision is that of the last commit that readers see.", onBrowser(revisionVisible)},
	{"DATABASE-CD", "A subscription from Page.Revision tells every change that the page lacks.", onBrowser(pageThenSubscribe)},
	{"DATABASE-CE", "ListOptions.Offset passes over so many objects of a list; with a cursor it is ErrInvalidOptions, a negative one ErrInvalidLimit.", onBrowser(pageByRank)},
	{"DATABASE-CF", "The pages of directories that follow each other show what Directories does, each with the total.", onBrowser(directoriesPages)},
	{"DATABASE-CG", "A context that is done ends IterateContext with its error.", onBrowser(iterateContext)},
}

// browser has the page calls of *storage.Layered of all kinds.
type browser interface {
	pager
	Revision() uint64
	DirectoriesPage(path string, opt storage.DirectoryOptions) (storage.DirectoryPage, error)
	IterateContext(ctx context.Context, pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error]
}

// onBrowser returns the run of a clause. It checks nothing if the database has no such pages.
func onBrowser(check func(t T, s *subject, db storage.Database, b browser)) func(T, *subject) {
	return onDatabase(func(t T, s *subject, db storage.Database) {
		t.Helper()
		b, ok := db.(browser)
		if !ok {
			t.Logf("%T has no DirectoriesPage: nothing is checked", db)
			return
		}
		check(t, s, db, b)
	})
}

func revisionVisible(t T, s *subject, db storage.Database, b browser) {
	check := func(what string, want uint64) {
		t.Helper()
		if got := b.Revision(); got != want {
			t.Errorf("Revision after %s is %d, want %d", what, got, want)
		}
	}
	begin := b.Revision()
	obj := set(t, db, "a/1", 1)
	check("Set", obj.Revision)
	if obj.Revision <= begin {
		t.Errorf("Revision before the first Set is %d, the Set has %d", begin, obj.Revision)
	}
	set(t, db, "a/b/2", 2)
	last := b.Revision()
	must(t, "Del", db.Del("a/*"))
	removed := b.Revision()
	if removed <= last {
		t.Errorf("Revision after Del of a glob is %d, before it %d", removed, last)
	}
	must(t, "Del of nothing", db.Del("a/*"))
	check("Del of nothing", removed)
	// Changes up to a revision are visible: stored objects exist, and removed ones do not.
	s.together(t, 2, func(g int) {
		if g == 0 {
			for i := range int64(100) {
				if _, err := db.Set("r/1", dataOf(i)); err != nil {
					t.Errorf("Set: %v", err)
				}
				if err := db.Del("r/*"); err != nil {
					t.Errorf("Del: %v", err)
				}
			}
			return
		}
		for range 200 {
			s.beats.advance()
			covered := b.Revision()
			list, err := db.GetList("r/*")
			if err != nil {
				t.Errorf("GetList: %v", err)
				return
			}
			// The revision after that of each Set belongs to its delete.
			if len(list) == 1 && list[0].Revision+1 <= covered {
				t.Errorf("a read at revision %d shows an object of revision %d, which %d removed", covered, list[0].Revision, list[0].Revision+1)
				return
			}
		}
	})
	db.Clear()
	db.Close()
	check("Close", 0)
}

func pageThenSubscribe(t T, s *subject, db storage.Database, b browser) {
	subscribe, ok := subscriberOf(db)
	if !ok {
		t.Logf("%T has no Subscribe: nothing is checked", db)
		return
	}
	set(t, db, "s/first", 0)
	d := &subscribed{db, s, subscribe}
	d.follow(t, "s/**", storage.SubscribeOptions{}) // keeps a history from now on
	const writes = 200
	s.together(t, 2, func(g int) {
		if g == 0 {
			for i := range int64(writes) {
				path := fmt.Sprintf("s/%d/%d", i%3, i%7)
				_, err := db.Set(path, dataOf(i))
				if err == nil && i%5 == 4 {
					err = db.Del(fmt.Sprintf("s/%d/*", i%3))
				}
				if err != nil {
					t.Errorf("a write beside pages: %v", err)
				}
			}
			return
		}
		for range 20 {
			s.beats.advance()
			page, err := b.Page("s/**", storage.ListOptions{Limit: 1000})
			if err != nil {
				t.Errorf("Page: %v", err)
				return
			}
			known := make(map[string]uint64)
			for _, obj := range page.Objects {
				known[obj.Path] = obj.Revision
			}
			r := d.follow(t, "s/**", storage.SubscribeOptions{From: page.Revision})
			for {
				n := r.next(t)
				switch n.Kind {
				case storage.NoticeReset:
					clear(known)
				case storage.NoticeSet:
					known[n.Path] = n.Revision
				case storage.NoticeDel:
					delete(known, n.Path)
				}
				if n.Kind == storage.NoticeLive {
					break
				}
			}
			// Changes that arrive now are later than the list, or already in it.
			reached := r.Revision()
			list, err := db.GetList("s/**")
			if err != nil {
				t.Errorf("GetList: %v", err)
				return
			}
			for _, obj := range list {
				if obj.Revision <= reached && known[obj.Path] < obj.Revision {
					t.Errorf("a page at revision %d and the subscription from there know %s at %d, it is at %d",
						page.Revision, obj.Path, known[obj.Path], obj.Revision)
					return
				}
			}
			r.Close()
		}
	})
}

func pageByRank(t T, _ *subject, db storage.Database, b browser) {
	model := fillPages(t, db)
	for _, opt := range listOptions() {
		for _, pattern := range []string{"pg/0/*", "pg/*/*", "pg/1/1*", "pg/**", "none/*"} {
			want := paths(listed(model, pattern, opt))
			for _, offset := range []int{0, 1, 5, 11, 12, 100, int(^uint(0) >> 1)} {
				opt.Offset, opt.Limit = offset, 4
				page, err := b.Page(pattern, opt)
				must(t, describe("Page", pattern), err)
				rest := want[min(offset, len(want)):]
				what := fmt.Sprintf("%s from rank %d, descending %v", describe("Page", pattern), offset, opt.Descending)
				wantPaths(t, what, paths(page.Objects), rest[:min(4, len(rest))])
				if page.Next != "" {
					next := opt
					next.Offset, next.Cursor = 0, page.Next
					wantPaths(t, what+", the pages behind it", paths(follow(t, b, pattern, next)), rest[4:])
				}
				wantPaths(t, fmt.Sprintf("%s from rank %d", describe("Iterate", pattern), offset), paths(iterated(t, b, pattern, opt)), rest)
			}
		}
	}
	cursor := next(t, b, "pg/0/*", storage.ListOptions{Limit: 3})
	_, err := b.Page("pg/0/*", storage.ListOptions{Cursor: cursor, Offset: 1})
	wantErr(t, "Page with a cursor and an offset", err, storage.ErrInvalidOptions)
	_, err = b.Page("pg/0/*", storage.ListOptions{Offset: -1})
	wantErr(t, "Page with offset -1", err, storage.ErrInvalidLimit)
}

func directoriesPages(t T, _ *subject, db storage.Database, b browser) {
	for i, path := range []string{"root", "d/1", "d/2", "d/e/1", "d/e/f/g/1", "d-x/1", "D/e/1", "d.y/1/2", "z/1"} {
		set(t, db, path, int64(i))
	}
	for _, path := range []string{"", "d", "d/e", "none", "root"} {
		want, err := b.Directories(path)
		must(t, "Directories", err)
		for _, limit := range []int{1, 2, 5, 0} {
			got := []storage.Directory{}
			opt := storage.DirectoryOptions{Limit: limit}
			for range len(want) + 1 {
				page, err := b.DirectoriesPage(path, opt)
				must(t, describe("DirectoriesPage", path), err)
				if page.Total != len(want) || page.Revision != b.Revision() || page.Directories == nil {
					t.Errorf("%s has a total of %d at revision %d, want %d at %d", describe("DirectoriesPage", path),
						page.Total, page.Revision, len(want), b.Revision())
				}
				if page.Offset != len(got) {
					t.Errorf("a page of %s says that %d come before it, want %d", describe("DirectoriesPage", path), page.Offset, len(got))
				}
				got = append(got, page.Directories...)
				if opt.After = page.Next; page.Next == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d of %s show %v, want %v", limit, describe("Directories", path), got, want)
			}
		}
	}
	all, err := b.Directories("")
	must(t, "Directories", err)
	for offset := range len(all) + 2 {
		page, err := b.DirectoriesPage("", storage.DirectoryOptions{Offset: offset})
		if want := min(offset, len(all)); err != nil || !slices.Equal(page.Directories, all[want:]) || page.Offset != want || page.Total != len(all) {
			t.Errorf("the page at offset %d: %v, %v, want %v", offset, page, err, all[want:])
		}
	}
	page, err := b.DirectoriesPage("", storage.DirectoryOptions{After: "d-", Limit: 1})
	if err != nil || len(page.Directories) != 1 || page.Directories[0].Name != "d-x" {
		t.Errorf("the page behind a name that is not there: %v, %v, want d-x", page, err)
	}
	_, err = b.DirectoriesPage("", storage.DirectoryOptions{Limit: -1})
	wantErr(t, "DirectoriesPage with limit -1", err, storage.ErrInvalidLimit)
	_, err = b.DirectoriesPage("", storage.DirectoryOptions{Offset: -1})
	wantErr(t, "DirectoriesPage with offset -1", err, storage.ErrInvalidLimit)
	_, err = b.DirectoriesPage("", storage.DirectoryOptions{Offset: 1, After: "a"})
	wantErr(t, "DirectoriesPage with an offset and a name", err, storage.ErrInvalidOptions)
	_, err = b.DirectoriesPage("a/**", storage.DirectoryOptions{})
	wantErr(t, "DirectoriesPage of a pattern", err, storage.ErrGlobNotAllowed)
}

func iterateContext(t T, _ *subject, db storage.Database, b browser) {
	for i := range int64(5) {
		set(t, db, fmt.Sprintf("a/%d", i), i)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	var last error
	for _, err := range b.IterateContext(ctx, "a/*", storage.ListOptions{}) {
		if n++; n == 2 {
			cancel()
		}
		last = err
	}
	if n != 3 {
		t.Errorf("IterateContext yields %d times, want two objects and the error", n)
	}
	wantErr(t, "IterateContext that is cancelled in its loop", last, context.Canceled)
	wantErr(t, "IterateContext with a context that is done", lastError(b.IterateContext(ctx, "a/*", storage.ListOptions{})), context.Canceled)
}
