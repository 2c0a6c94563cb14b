package storage

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
)

func TestSetWith(t *testing.T) {
	var written hooks
	each(t, Options{AfterWrite: written.run}, nil, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) {
		written.paths()
		first, err := s.SetWith("u/a", json.RawMessage("1"), SetOptions{IfAbsent: true})
		must(t, err)
		if there := object(t, s, "u/a"); !same(first, there) || first.Updated != 0 || first.Revision == 0 {
			t.Errorf("SetWith returned %s, there is %s", show(first), show(there))
		}
		second, err := s.SetWith("u/a", json.RawMessage("2"), SetOptions{IfRevision: first.Revision})
		must(t, err)
		if there := object(t, s, "u/a"); !same(second, there) || second.Created != first.Created || second.Updated == 0 {
			t.Errorf("SetWith returned %s, there is %s", show(second), show(there))
		}
		third, err := s.SetWith("u/a", json.RawMessage("3"), SetOptions{IfRevision: second.Revision, Times: &Times{5, 0}})
		must(t, err)
		if third.Created != 5 || third.Updated != 0 {
			t.Errorf("SetWith times stored %s", show(third))
		}
		pushed, err := s.PushWith("u/*", json.RawMessage("4"), SetOptions{})
		must(t, err)
		if there := object(t, s, pushed.Path); !same(pushed, there) || !strings.HasPrefix(pushed.Path, "u/") {
			t.Errorf("PushWith returned %s, there is %s", show(pushed), show(there))
		}
		must(t, s.DelWith("u/a", DelOptions{IfRevision: third.Revision}))
		must(t, s.DelWith(pushed.Path, DelOptions{}))
		if paths, want := written.paths(), []string{"u/a", "u/a", "u/a", pushed.Path, "u/a", pushed.Path}; !slices.Equal(paths, want) {
			t.Errorf("AfterWrite ran for %q, want %q", paths, want)
		}
		expect(t, s, "u/a", "")
	})
}

func TestConditionsThatDoNotHold(t *testing.T) {
	var written hooks
	each(t, Options{AfterWrite: written.run}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		set(t, s, "there", "1")
		set(t, s, "was", "1")
		must(t, s.Del("was"))
		written.paths()
		there := object(t, s, "there")
		before := fake.content()
		store := func(path string, opt SetOptions) func() error {
			return func() error { _, err := s.SetWith(path, json.RawMessage("2"), opt); return err }
		}
		del := func(path string, revision uint64) func() error {
			return func() error { return s.DelWith(path, DelOptions{IfRevision: revision}) }
		}
		tests := []struct {
			name string
			call func() error
			want ConflictError
			says string
		}{
			{"set of an older revision", store("there", SetOptions{IfRevision: 99}), ConflictError{"there", 99, there.Revision}, "expected revision 99"},
			{"set of an absent key", store("none", SetOptions{IfRevision: 99}), ConflictError{"none", 99, 0}, "found no object"},
			{"set of a deleted key", store("was", SetOptions{IfRevision: 2}), ConflictError{"was", 2, 0}, "found no object"},
			{"set if absent", store("there", SetOptions{IfAbsent: true}), ConflictError{"there", 0, there.Revision}, "expected no object"},
			{"set with times", store("there", SetOptions{IfAbsent: true, Times: &Times{1, 2}}), ConflictError{"there", 0, there.Revision}, "expected no object"},
			{"set with a TTL", store("there", SetOptions{IfRevision: 99, TTL: time.Second}), ConflictError{"there", 99, there.Revision}, "revision 99"},
			{"delete of an older revision", del("there", 98), ConflictError{"there", 98, there.Revision}, "expected revision 98"},
			{"delete of an absent key", del("none", 98), ConflictError{"none", 98, 0}, "found no object"},
		}
		for _, test := range tests {
			err := test.call()
			conflict, ok := errors.AsType[*ConflictError](err)
			if !ok || *conflict != test.want || !errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v, want %+v", test.name, err, test.want)
			} else if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: the error does not say %q: %v", test.name, test.says, err)
			}
		}
		if !same(object(t, s, "there"), there) || len(written.paths()) != 0 || len(fake.content()) != len(before) {
			t.Error("a write whose condition did not hold changed something")
		}
		if err := s.DelWith("none", DelOptions{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("DelWith of an absent key without a condition = %v, want ErrNotFound", err)
		}
	})
}

func TestInvalidSetOptions(t *testing.T) {
	s := inMemory(t)
	set(t, s, "a", "1")
	data := json.RawMessage("2")
	withSet := func(path string, opt SetOptions) error { _, err := s.SetWith(path, data, opt); return err }
	withPush := func(path string, opt SetOptions) error { _, err := s.PushWith(path, data, opt); return err }
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"glob", withSet("a/*", SetOptions{}), ErrGlobNotAllowed},
		{"path", withSet("a/", SetOptions{}), ErrInvalidPath},
		{"both conditions", withSet("a", SetOptions{IfAbsent: true, IfRevision: 1}), ErrInvalidOptions},
		{"negative TTL", withSet("a", SetOptions{TTL: -time.Second}), ErrInvalidTTL},
		{"least TTL", withSet("a", SetOptions{TTL: math.MinInt64}), ErrInvalidTTL},
		{"negative end", withSet("a", SetOptions{Expires: math.MinInt64}), ErrInvalidTTL},
		{"both ends", withSet("a", SetOptions{TTL: 1, Expires: math.MaxInt64}), ErrInvalidOptions},
		{"push without a glob", withPush("a", SetOptions{}), ErrGlobRequired},
		{"push of a glob in the middle", withPush("*/a", SetOptions{}), ErrInvalidPath},
		{"push if absent", withPush("a/*", SetOptions{IfAbsent: true}), ErrInvalidOptions},
		{"push of a revision", withPush("a/*", SetOptions{IfRevision: 1}), ErrInvalidOptions},
		{"push with times", withPush("a/*", SetOptions{Times: &Times{1, 1}}), ErrInvalidOptions},
		{"delete of a glob", s.DelWith("a/*", DelOptions{}), ErrGlobNotAllowed},
		{"delete of no path", s.DelWith("", DelOptions{}), ErrInvalidPath},
	}
	for _, test := range tests {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, test.err, test.want)
		}
	}
	expect(t, s, "a", "1")
	if keys, err := s.Keys(); err != nil || len(keys) != 1 {
		t.Errorf("Keys = %v, %v after refused writes", keys, err)
	}
	s.Close()
	if err := withSet("a", SetOptions{IfAbsent: true, IfRevision: 1}); !errors.Is(err, ErrNotActive) {
		t.Errorf("SetWith after Close = %v", err)
	}
	if err := s.DelWith("a", DelOptions{}); !errors.Is(err, ErrNotActive) {
		t.Errorf("DelWith after Close = %v", err)
	}
}

// A revision is good for a swap after a restart, too, and an object of an older tool, which has none,
// can be updated.
func TestConditionsAfterARestart(t *testing.T) {
	each(t, Options{}, func(k kind) bool { return k.persistent }, func(t *testing.T, _ kind, s *Layered, fake *fakeBatcher) {
		set(t, s, "a", "1")
		revision := object(t, s, "a").Revision
		s.Close()
		fake.objects["old"] = meta.Object{Path: "old", Index: "old", Created: 3, Data: json.RawMessage("1")}
		must(t, s.Start(Options{}))
		stored, err := s.SetWith("a", json.RawMessage("2"), SetOptions{IfRevision: revision})
		must(t, err)
		if stored.Revision <= revision {
			t.Errorf("revision %d after %d", stored.Revision, revision)
		}
		got, err := s.Update("old", increment)
		must(t, err)
		if string(got.Data) != "2" || got.Created != 3 || got.Revision == 0 {
			t.Errorf("an object without a revision became %s", show(got))
		}
	})
}
