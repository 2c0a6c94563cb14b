package storage

import (
	"errors"
	"testing"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

// FuzzCursor gives pages any cursor: it is ErrInvalidCursor, or the one cursor of its place, and then the page holds what
// stands behind that place.
func FuzzCursor(f *testing.F) {
	s := New(LayeredConfig{Memory: NewMemoryLayer()})
	must(f, s.Start(Options{}))
	f.Cleanup(s.Close)
	const pattern = "p/*"
	for i, path := range []string{"p/a", "p/b", "p/c", "p/d", "p/e"} {
		_, err := s.SetWithMeta(path, []byte("1"), int64(i/2+1), 0)
		must(f, err)
	}
	store := s.run.Load().id
	query := func(descending bool) pathtree.Query {
		q := pathtree.Everything(pattern)
		q.Descending = descending
		return q
	}
	f.Add("", int64(1), "p/a", false)
	f.Add("", int64(-1), "p/zz", true)
	f.Add("", int64(2), "", true)
	f.Add("AQ", int64(0), "", false)
	f.Add("not base64!", int64(0), "", true)
	f.Fuzz(func(t *testing.T, cursor string, created int64, path string, descending bool) {
		if cursor == "" { // no input can guess a checksum
			cursor = cursorOf(query(descending), store, &meta.Object{Created: created, Path: path})
		}
		page, err := s.Page(pattern, ListOptions{Limit: 2, Cursor: cursor, Descending: descending})
		if err != nil {
			if !errors.Is(err, ErrInvalidCursor) {
				t.Fatalf("cursor %q: %v, want ErrInvalidCursor", cursor, err)
			}
			return
		}
		q := query(descending)
		at, err := parseCursor(q, store, cursor)
		if err != nil {
			t.Fatalf("cursor %q: a page, and %v", cursor, err)
		}
		if again := cursorOf(q, store, &meta.Object{Created: at.Created, Path: at.Path}); again != cursor {
			t.Fatalf("%q and %q are cursors of one place", cursor, again)
		}
		q.After = at
		for i := range page.Objects {
			if !q.Holds(pathtree.Position{Created: page.Objects[i].Created, Path: page.Objects[i].Path}) {
				t.Fatalf("cursor %q of %+v: the page holds %v", cursor, at, page.Objects[i])
			}
		}
	})
}
