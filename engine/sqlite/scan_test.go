package sqlite

import (
	"fmt"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func TestScansOfAConnectionEach(t *testing.T) {
	l := start(t, in(t.TempDir()), Options{})
	enginetest.Set(t, l, "a/1", "a/2", "a/3")
	depth := 3 * readers()
	var nest func(int)
	nest = func(n int) {
		if n == 0 {
			return
		}
		seen := 0
		for obj, err := range l.Scan("a/*") {
			if err != nil {
				t.Fatal(err)
			}
			if seen == 0 {
				enginetest.Set(t, l, "a/1")
				if _, err := l.Get("a/2"); err != nil {
					t.Fatal(err)
				}
				nest(n - 1)
			}
			seen++
			_ = obj
		}
		if seen != 3 {
			t.Errorf("a scan sees %d objects", seen)
		}
	}
	nest(depth)
	if n := len(opened(l).readers.idle); n > readers() || n == 0 {
		t.Errorf("%d connections are kept, expected at most %d", n, readers())
	}
	if n := l.life.Holding(); n != 0 {
		t.Errorf("%d scans are held", n)
	}
}

// A list costs its directory, not the levels below it nor the rest of the store: counted are the
// rows that it visits.
func TestListCostsItsDirectory(t *testing.T) {
	l := start(t, in(t.TempDir()), Options{})
	var changes []storage.Change
	add := func(path string) {
		changes = append(changes, storage.Change{Key: path, Object: enginetest.Object(path, 1, "1")})
	}
	for i := range 20 {
		add(fmt.Sprintf("users/%02d", i))
		for j := range 200 {
			add(fmt.Sprintf("users/%02d/posts/%03d", i, j))
		}
	}
	for i := range 5000 {
		add(fmt.Sprintf("other/%d", i))
	}
	if err := l.Commit(changes); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pattern     string
		want, steps int
	}{
		{"users/*", 20, 21},
		{"users/0*", 10, 11},
		{"users/*/posts/00*", 200, 300},
		{"users/07/posts/*", 200, 201},
		{"*/07", 1, 10},
		{"none/*", 0, 1},
	} {
		it, err := opened(l).Scan(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		s, got := it.(*scan), 0
		for {
			var obj meta.Object
			found, err := s.Next(&obj)
			if err != nil {
				t.Fatal(err)
			}
			if !found {
				break
			}
			got++
		}
		if got != c.want || s.steps > c.steps {
			t.Errorf("%s yields %d objects in %d rows, expected %d in at most %d", c.pattern, got, s.steps, c.want, c.steps)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
