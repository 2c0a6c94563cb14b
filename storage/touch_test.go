package storage

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// Touch changes the end and the revision of an object, and nothing else, in every kind of store.
func TestTouch(t *testing.T) {
	var written hooks
	each(t, Options{AfterWrite: written.run}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		var seen tape
		defer s.Watch(seen.record)()
		first, err := s.SetWith("u/a", json.RawMessage(`{"n":1}`), SetOptions{Times: &Times{5, 6}})
		must(t, err)
		written.paths()
		check := func(what string, touched meta.Object, before meta.Object) {
			t.Helper()
			if there := object(t, s, "u/a"); !same(touched, there) {
				t.Errorf("%s returned %s, there is %s", what, show(touched), show(there))
			}
			want := before
			want.Expires, want.Revision = touched.Expires, touched.Revision
			if !same(touched, want) || touched.Revision <= before.Revision {
				t.Errorf("%s made %s of %s", what, show(touched), show(before))
			}
			if paths := written.paths(); !slices.Equal(paths, []string{"u/a"}) {
				t.Errorf("%s: AfterWrite ran for %q", what, paths)
			}
			if k.persistent && !same(fake.content()["u/a"], touched) {
				t.Errorf("%s: the layer has %s", what, show(fake.content()["u/a"]))
			}
		}
		begin := time.Now()
		second, err := s.Touch("u/a", time.Hour)
		must(t, err)
		check("Touch for an hour", second, first)
		if end := time.Unix(0, second.Expires); end.Before(begin.Add(time.Hour)) || end.After(time.Now().Add(time.Hour)) {
			t.Errorf("touched for an hour at %v it ends at %v", begin, end)
		}
		third, err := s.TouchWith("u/a", SetOptions{Expires: 1 << 62, IfRevision: second.Revision})
		must(t, err)
		check("TouchWith an end", third, second)
		fourth, err := s.Touch("u/a", 0)
		must(t, err)
		check("Touch without an end", fourth, third)
		if third.Expires != 1<<62 || fourth.Expires != 0 {
			t.Errorf("the ends are %d and %d", third.Expires, fourth.Expires)
		}
		if k.persistent {
			restart(t, s)
			if there := object(t, s, "u/a"); !same(there, fourth) {
				t.Errorf("after a restart there is %s, want %s", show(there), show(fourth))
			}
			set(t, s, "u/a", "2")
			must(t, failure(s.Touch("u/a", time.Hour)))
		}
	})
}

func TestTouchRefuses(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		set(t, s, "a", "1")
		set(t, s, "was", "1")
		must(t, s.Del("was"))
		must(t, failure(s.SetWith("past", json.RawMessage("1"), SetOptions{Expires: 1})))
		there := object(t, s, "a")
		for _, c := range []struct {
			name, path string
			opt        SetOptions
			want       error
		}{
			{"absent", "none", SetOptions{TTL: 1}, ErrNotFound},
			{"deleted", "was", SetOptions{}, ErrNotFound},
			{"expired", "past", SetOptions{TTL: time.Hour}, ErrNotFound},
			{"glob", "*", SetOptions{}, ErrGlobNotAllowed},
			{"path", "a/", SetOptions{}, ErrInvalidPath},
			{"negative TTL", "a", SetOptions{TTL: -1}, ErrInvalidTTL},
			{"negative end", "a", SetOptions{Expires: -1}, ErrInvalidTTL},
			{"two ends", "a", SetOptions{TTL: 1, Expires: 1}, ErrInvalidOptions},
			{"if absent", "a", SetOptions{IfAbsent: true}, ErrInvalidOptions},
			{"times", "a", SetOptions{Times: &Times{}}, ErrInvalidOptions},
			{"revision", "a", SetOptions{IfRevision: there.Revision + 1}, ErrConflict},
			{"revision of an absent one", "none", SetOptions{IfRevision: 1}, ErrConflict},
		} {
			if _, err := s.TouchWith(c.path, c.opt); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
			var b Batch
			b.TouchWith(c.path, c.opt)
			if _, err := s.Commit(&b); !errors.Is(err, c.want) {
				t.Errorf("%s in a batch: %v, want %v", c.name, err, c.want)
			}
		}
		if !same(object(t, s, "a"), there) {
			t.Errorf("a touch that was refused made %s of %s", show(object(t, s, "a")), show(there))
		}
	})
}

// A touch keeps what the writes before it left, also those of its own group and of a group whose sync is under way; and
// what is touched expires at its new end.
func TestTouchInAGroup(t *testing.T) {
	for _, name := range []string{"memory over batcher", "memory over async", "cache of batcher", "batcher only"} {
		kind := kinds()[slices.IndexFunc(kinds(), func(k kind) bool { return k.name == name })]
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				layer := newFakeBatcher()
				s := start(t, kind.over(layer), Options{})
				set(t, s, "b", "1")
				errs := queued(t, layer, s, noFault,
					func() error { return failure(s.Touch("first", time.Minute)) }, // set by the group before
					setting(s, "a", "1"),
					func() error { return failure(s.Touch("a", time.Minute)) },
					setting(s, "a", "2"),
					func() error { return failure(s.Touch("a", time.Hour)) },
					deleting(s, "b"),
					func() error { return failure(s.Touch("b", time.Hour)) },
					committing(s, func(b *Batch) {
						b.Set("c", json.RawMessage("3"))
						b.Touch("a", time.Minute)
					}),
				)
				for i, err := range errs {
					if want := map[int]error{6: ErrNotFound}[i]; !errors.Is(err, want) {
						t.Errorf("write %d = %v, want %v", i, err, want)
					}
				}
				expect(t, s, "a", "2")
				expect(t, s, "first", "1")
				if obj := object(t, s, "a"); obj.Updated == 0 {
					t.Errorf("a touch took the time of the write before it: %s", show(obj))
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				expect(t, s, "a", "")
				expect(t, s, "first", "")
				expect(t, s, "c", "3")
			})
		})
	}
}

// An age counts from the creation: a touch does not lengthen it, and does not shorten it when it ends a time to live.
func TestTouchUnderAnAge(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				layer := newFakeBatcher()
				s := start(t, k.over(layer), Options{Retention: []Retention{{Pattern: "u/*", Age: time.Hour}}})
				set(t, s, "u/a", "1")
				born := object(t, s, "u/a").Created
				for _, ttl := range []time.Duration{time.Minute, 2 * time.Hour, 0} {
					must(t, failure(s.Touch("u/a", ttl)))
				}
				obj := object(t, s, "u/a")
				if obj.Created != born || obj.Expires != born+int64(time.Hour) {
					t.Errorf("touched under an age it is %s, want the end %d", show(obj), born+int64(time.Hour))
				}
				if own := layer.content()["u/a"].Expires; k.persistent && own != 0 {
					t.Errorf("the layer keeps the end %d of a rule", own)
				}
			})
		})
	}
}
