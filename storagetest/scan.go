package storagetest

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks layers that are Scanners.

// onScanner returns the run of a clause. It checks nothing if the layer is not a Scanner.
func onScanner(check func(t T, s *subject, l storage.EmbeddedLayer, sc storage.Scanner)) func(T, *subject) {
	return onEmbedded(func(t T, s *subject, l *reopener) {
		t.Helper()
		sc, ok := storage.As[storage.Scanner](l.EmbeddedLayer)
		if !ok {
			t.Logf("%T is no Scanner: nothing is checked", l.EmbeddedLayer)
			return
		}
		check(t, s, l.EmbeddedLayer, sc)
	})
}

// scanned collects a scan that must succeed.
func scanned(t T, seq iter.Seq2[meta.Object, error]) []meta.Object {
	t.Helper()
	list := []meta.Object{}
	for obj, err := range seq {
		must(t, "Scan", err)
		list = append(list, obj)
	}
	return list
}

func scanOrder(t T, _ *subject, l storage.EmbeddedLayer, sc storage.Scanner) {
	for i, path := range []string{
		"a/b/z", "z", "a.b/c", "a/b/c", "a-b/c", "a", "a/b", "B", "a/b.c/d", "a/b-c/d", "a/B", "a/b/c/d", "a/-", "aa/0",
	} {
		put(t, l, object(path, int64(100-i)))
	}
	// In this order of directories: none, a, a-b, a.b, a/b, a/b-c, a/b.c, a/b/c, aa.
	want := []string{
		"B", "a", "z", "a/-", "a/B", "a/b", "a-b/c", "a.b/c", "a/b/c", "a/b/z", "a/b-c/d", "a/b.c/d", "a/b/c/d", "aa/0",
	}
	list := scanned(t, sc.Scan(""))
	wantPaths(t, "Scan", paths(list), want)
	for _, obj := range list {
		whole, err := l.Get(obj.Path)
		must(t, "Get", err)
		if d := diff(obj, whole); d != "" {
			t.Errorf("Scan, %s differs from Get: %s", obj.Path, d)
		}
	}
}

func scanPattern(t T, _ *subject, l storage.EmbeddedLayer, sc storage.Scanner) {
	for i, path := range tree {
		put(t, l, object(path, int64(i)))
	}
	for _, glob := range globs {
		list := scanned(t, sc.Scan(glob))
		wantPaths(t, "Scan "+glob+" (in any order)", sorted(paths(list)), matching(glob, tree))
	}
}

// duringScan fills a layer, begins a scan, calls a function after the first object, and returns everything that the
// scan yielded.
func duringScan(t T, l storage.EmbeddedLayer, sc storage.Scanner, fn func()) []meta.Object {
	t.Helper()
	for i := range int64(50) {
		put(t, l, object(fmt.Sprintf("a/%02d", i), i))
	}
	next, stop := iter.Pull2(sc.Scan("a/*"))
	defer stop()
	list := []meta.Object{}
	for {
		obj, err, ok := next()
		if !ok {
			return list
		}
		must(t, "Scan", err)
		list = append(list, obj)
		if len(list) == 1 {
			fn()
		}
	}
}

func scanSnapshot(t T, s *subject, l storage.EmbeddedLayer, sc storage.Scanner) {
	var wrote <-chan string
	list := duringScan(t, l, sc, func() {
		wrote = guarded(func() {
			changed, added := object("a/40", 1000), object("a/45x", 1001)
			for _, err := range []error{l.Set("a/40", &changed), l.Set("a/45x", &added), l.Del("a/30")} {
				if err != nil {
					t.Errorf("write during a scan: %v", err)
				}
			}
		})
		// A layer whose writers wait for scans also keeps its snapshot, in a different way.
		select {
		case text := <-wrote:
			wrote = guarded(func() {})
			if text != "" {
				t.Errorf("write during a scan: %s", text)
			}
		case <-time.After(time.Second):
		}
	})
	s.within(t, "a write during a scan, after its end", func() { <-wrote })
	if len(list) != 50 {
		t.Errorf("Scan yields %d objects, want the 50 that were there when it began", len(list))
	}
	for i, obj := range list {
		if obj.Created != int64(i) {
			t.Errorf("Scan yields %s with Created %d, want what was there when it began", obj.Path, obj.Created)
		}
	}
}

func scanWriters(t T, s *subject, l storage.EmbeddedLayer, sc storage.Scanner) {
	duringScan(t, l, sc, func() {
		s.within(t, "a write during a scan", func() {
			obj := object("b/x", 1)
			if err := l.Set("b/x", &obj); err != nil {
				t.Errorf("Set during a scan: %v", err)
			}
			if err := l.Del("b/x"); err != nil {
				t.Errorf("Del during a scan: %v", err)
			}
		})
	})
}

func scanEarly(t T, s *subject, l storage.EmbeddedLayer, sc storage.Scanner) {
	for i := range int64(20) {
		put(t, l, object(fmt.Sprintf("a/%02d", i), i))
	}
	for stop := range 3 {
		seen := 0
		for _, err := range sc.Scan("") {
			must(t, "Scan", err)
			if seen++; seen > stop {
				break
			}
		}
	}
	s.within(t, "writes and Close after a scan that ended early", func() {
		obj := object("b", 1)
		if err := l.Set("b", &obj); err != nil {
			t.Errorf("Set: %v", err)
		}
		l.Close()
	})
}

func scanOwned(t T, _ *subject, l storage.EmbeddedLayer, sc storage.Scanner) {
	want := []meta.Object{object("a/b", 1), object("a/c", 2), object("a/d", 3)}
	for _, obj := range want {
		put(t, l, obj)
	}
	list := scanned(t, sc.Scan(""))
	put(t, l, object("a/b", 100))
	must(t, "Del", l.Del("a/c"))
	for i, obj := range list {
		if d := diff(obj, want[i]); d != "" {
			t.Errorf("object of a scan after later writes: %s", d)
		}
		for j := range obj.Data {
			obj.Data[j] = 'x'
		}
	}
	wantContent(t, l, object("a/b", 100), object("a/d", 3))
}

func scanInactive(t T, s *subject) {
	l := s.openEmbedded(t, t.TempDir())
	sc, ok := storage.As[storage.Scanner](l)
	if !ok {
		t.Logf("%T is no Scanner: nothing is checked", l)
		return
	}
	check := func(when string) {
		n := 0
		for _, err := range sc.Scan("") {
			n++
			wantErr(t, "Scan "+when, err, storage.ErrNotActive)
		}
		if n != 1 {
			t.Errorf("Scan %s yields %d times, want one error", when, n)
		}
	}
	check("before Start")
	startLayer(t, l)
	put(t, l, object("a/b", 1))
	l.Close()
	check("after Close")
}

func scanInvalid(t T, _ *subject, l storage.EmbeddedLayer, sc storage.Scanner) {
	put(t, l, object("a/b", 1))
	for _, c := range slices.Concat(invalidPaths[1:], invalidPatterns) {
		n := 0
		for _, err := range sc.Scan(c.path) {
			if n++; err == nil {
				t.Errorf("Scan, %s: yields an object, want an error", c.name)
			}
		}
		if n != 1 {
			t.Errorf("Scan, %s: yields %d times, want one error", c.name, n)
		}
	}
}
