package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// increment adds one to a number, 0 where there is none.
func increment(old meta.Object) (json.RawMessage, error) {
	n := 0
	if old.Data != nil {
		if err := json.Unmarshal(old.Data, &n); err != nil {
			return nil, err
		}
	}
	return json.Marshal(n + 1)
}

func TestUpdate(t *testing.T) {
	var written, read hooks
	each(t, Options{AfterWrite: written.run, BeforeRead: read.run}, nil, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) {
		written.paths()
		var olds []meta.Object
		for range 2 {
			read.paths()
			stored, err := s.Update("u/a", func(old meta.Object) (json.RawMessage, error) {
				olds = append(olds, old)
				return increment(old)
			})
			must(t, err)
			if paths := read.paths(); !slices.Equal(paths, []string{"u/a"}) {
				t.Errorf("BeforeRead ran for %q", paths)
			}
			if there := object(t, s, "u/a"); !same(stored, there) {
				t.Errorf("Update returned %s, there is %s", show(stored), show(there))
			}
		}
		if len(olds) != 2 || !same(olds[0], meta.Object{Path: "u/a", Index: "a"}) {
			t.Fatalf("where there was nothing change got %s, in %d calls", show(olds[0]), len(olds))
		}
		now := object(t, s, "u/a")
		if string(now.Data) != "2" || now.Created != olds[1].Created || olds[1].Updated != 0 || now.Updated == 0 {
			t.Errorf("two updates left %s, from %s", show(now), show(olds[1]))
		}
		if paths := written.paths(); !slices.Equal(paths, []string{"u/a", "u/a"}) {
			t.Errorf("AfterWrite ran for %q", paths)
		}
	})
}

func TestUpdateThatFails(t *testing.T) {
	own := errors.New("own error")
	var written hooks
	each(t, Options{AfterWrite: written.run}, nil, func(t *testing.T, _ kind, s *Layered, _ *fakeBatcher) {
		set(t, s, "a", "1")
		before := object(t, s, "a")
		written.paths()
		answer := func(data string, err error) func(meta.Object) (json.RawMessage, error) {
			return func(meta.Object) (json.RawMessage, error) { return json.RawMessage(data), err }
		}
		tests := []struct {
			name, path string
			change     func(meta.Object) (json.RawMessage, error)
			want       error
		}{
			{"own error", "a", answer("2", own), own},
			{"left as it is", "a", answer("2", ErrNoop), ErrNoop},
			{"left as it is, absent", "none", answer("2", ErrNoop), ErrNoop},
			{"broken data", "a", answer("{", nil), ErrInvalidStorageData},
			{"no data", "a", answer("", nil), ErrInvalidStorageData},
			{"glob", "a/*", answer("2", nil), ErrGlobNotAllowed},
			{"invalid path", "/a", answer("2", nil), ErrInvalidPath},
			{"own conflict", "a", answer("2", &ConflictError{Path: "x"}), ErrConflict},
		}
		for _, test := range tests {
			stored, err := s.Update(test.path, test.change)
			if !errors.Is(err, test.want) || stored.Path != "" || !strings.Contains(err.Error(), "update") {
				t.Errorf("%s: %v, %v, want %v", test.name, stored, err, test.want)
			}
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = s.Update("a", func(meta.Object) (json.RawMessage, error) { panic("on purpose") })
			t.Error("the panic of a change did not reach the caller")
		}()
		if !same(object(t, s, "a"), before) || len(written.paths()) != 0 {
			t.Error("an update that failed changed something")
		}
		expect(t, s, "none", "")
		s.Close()
		if _, err := s.Update("a", increment); !errors.Is(err, ErrNotActive) {
			t.Errorf("Update after Close = %v", err)
		}
	})
}

// Who is overtaken is called again, with what the faster one wrote: in each of the ways in which an object can change.
func TestUpdateIsCalledAgain(t *testing.T) {
	var read hooks
	each(t, Options{BeforeRead: read.run}, nil, func(t *testing.T, _ kind, s *Layered, _ *fakeBatcher) {
		faster := []struct {
			name  string
			write func() error
			want  string
		}{
			{"set", setting(s, "a", "5"), "6"},
			{"set to the same", setting(s, "a", "1"), "2"},
			{"delete", deleting(s, "a"), "1"},
			{"glob delete", deleting(s, "*"), "1"},
			{"clear", s.Truncate, "1"},
			{"delete and set", func() error { return errors.Join(s.Del("a"), setting(s, "a", "8")()) }, "9"},
		}
		for _, f := range faster {
			set(t, s, "a", "1")
			read.paths()
			calls := 0
			_, err := s.Update("a", func(old meta.Object) (json.RawMessage, error) {
				if calls++; calls == 1 {
					must(t, f.write())
				}
				return increment(old)
			})
			must(t, err)
			if calls != 2 {
				t.Errorf("%s: change was called %d times, want 2", f.name, calls)
			}
			if paths := read.paths(); !slices.Equal(paths, []string{"a"}) {
				t.Errorf("%s: BeforeRead ran for %q, want once", f.name, paths)
			}
			expect(t, s, "a", f.want)
		}
		must(t, s.Del("a"))
		_, err := s.Update("a", func(old meta.Object) (json.RawMessage, error) {
			if old.Data == nil {
				set(t, s, "a", "7")
			}
			return increment(old)
		})
		must(t, err)
		expect(t, s, "a", "8")
	})
}

// Increments by many goroutines on few keys: none is lost, none is counted twice.
func TestUpdatesAddUp(t *testing.T) {
	goroutines, rounds := 8, 150
	if testing.Short() {
		rounds = 40
	}
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) {
		const keys = 3
		var group sync.WaitGroup
		var calls atomic.Int64
		for g := range goroutines {
			group.Go(func() {
				for i := range rounds {
					_, err := s.Update(fmt.Sprintf("n/%d", (g+i)%keys), func(old meta.Object) (json.RawMessage, error) {
						calls.Add(1)
						return increment(old)
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		sum := 0
		list, err := s.GetList("n/*")
		must(t, err)
		for _, obj := range list {
			n := 0
			must(t, json.Unmarshal(obj.Data, &n))
			sum += n
		}
		if sum != goroutines*rounds {
			t.Errorf("%d increments add up to %d", goroutines*rounds, sum)
		}
		if calls.Load() < int64(goroutines*rounds) {
			t.Errorf("%d calls of change for %d increments", calls.Load(), goroutines*rounds)
		}
	})
}

// A time to live stays what it is, for an update and in a group of updates.
func TestUpdateKeepsTheTimeToLive(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, k.over(newFakeBatcher()), Options{})
				first, err := s.SetWith("a", json.RawMessage("1"), SetOptions{TTL: time.Minute})
				must(t, err)
				for range 3 {
					time.Sleep(10 * time.Second)
					stored, err := s.Update("a", increment)
					must(t, err)
					if stored.Expires != first.Expires || object(t, s, "a").Expires != first.Expires {
						t.Errorf("after an update the end is %d, it was %d", stored.Expires, first.Expires)
					}
				}
				time.Sleep(30*time.Second - 1)
				expect(t, s, "a", "4")
				time.Sleep(1)
				expect(t, s, "a", "")
				stored, err := s.Update("a", increment)
				must(t, err)
				if string(stored.Data) != "1" || stored.Expires != 0 || stored.Updated != 0 {
					t.Errorf("an update of an expired object stored %s, want a new one that stays", show(stored))
				}
				time.Sleep(24 * time.Hour)
				expect(t, s, "a", "1")
			})
		})
	}
}
