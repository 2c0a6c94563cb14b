package storage

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// Writes from many goroutines, replayed in the order of their revisions: in that order each must do what it
// says, with its conditions, as if it had been alone.

// done is a change that succeeded.
type done struct {
	modelled
	revision uint64
	stored   meta.Object
	batch    int          // how many changes of its batch follow
	update   *meta.Object // what an update was made from
}

// replayed is the record of a run.
type replayed struct {
	mu        sync.Mutex // guards the fields below
	changes   []done
	conflicts []*ConflictError
}

func (r *replayed) add(changes ...done) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, changes...)
}

// failed takes in the error of a write, and reports whether there is one.
func (r *replayed) failed(t *testing.T, err error) bool {
	conflict, ok := errors.AsType[*ConflictError](err)
	switch {
	case err == nil:
		return false
	case ok:
		r.mu.Lock()
		r.conflicts = append(r.conflicts, conflict)
		r.mu.Unlock()
	case !errors.Is(err, ErrNotFound) && !errors.Is(err, errRefused):
		t.Error(err)
	}
	return true
}

// randomChange demands, at times, the revision that was there a moment ago.
func randomChange(r *rand.Rand, s *Layered, paths []string) modelled {
	c := modelled{path: paths[r.IntN(len(paths))], data: fmt.Appendf(nil, "%d", r.Uint32())}
	revision := uint64(0)
	if obj, err := s.Get(c.path); err == nil && r.IntN(2) == 0 {
		revision = obj.Revision
	}
	switch r.IntN(6) {
	case 0:
		c.del, c.ifFound = true, revision
	case 1:
		c.push, c.path = true, "pushed/*"
	case 2:
		c.set.IfAbsent = true
	default:
		c.set.IfRevision = revision
	}
	if r.IntN(40) == 0 {
		c = modelled{path: refusedPath, data: c.data}
	}
	return c
}

func (b *Batch) addChange(c modelled) {
	switch {
	case c.del:
		b.DelWith(c.path, DelOptions{IfRevision: c.ifFound})
	case c.push:
		b.PushWith(c.path, c.data, c.set)
	default:
		b.SetWith(c.path, c.data, c.set)
	}
}

// write makes random writes and records those that succeeded.
func (rec *replayed) write(t *testing.T, k kind, s *Layered, r *rand.Rand, rounds int) {
	paths := []string{"x/1", "x/2", "y/1", "y/z/1"}
	for range rounds {
		if r.IntN(4) == 0 {
			path := paths[r.IntN(len(paths))]
			var from meta.Object
			data := json.RawMessage(fmt.Sprint(r.Uint32()))
			stored, err := s.Update(path, func(old meta.Object) (json.RawMessage, error) { from = old; return data, nil })
			if !rec.failed(t, err) {
				rec.add(done{modelled: modelled{path: path, data: data}, revision: stored.Revision, stored: stored, update: &from})
			}
			continue
		}
		most := 4
		if !k.batches {
			most = 1
		}
		var batch Batch
		var changes []modelled
		for range 1 + r.IntN(most) {
			c := randomChange(r, s, paths)
			if c.push || !slices.ContainsFunc(changes, func(o modelled) bool { return o.path == c.path }) {
				changes = append(changes, c)
				batch.addChange(c)
			}
		}
		got, err := s.Commit(&batch)
		if rec.failed(t, err) {
			continue
		}
		var made []done
		for i, obj := range got {
			made = append(made, done{modelled: changes[i], revision: obj.Revision, stored: obj, batch: len(got) - 1 - i})
		}
		rec.add(made...)
	}
}

// replay goes through the changes in their order and returns what is there in the end.
func (rec *replayed) replay(t *testing.T, there map[string]meta.Object, last uint64) map[string]meta.Object {
	t.Helper()
	slices.SortFunc(rec.changes, func(a, b done) int { return cmp.Compare(a.revision, b.revision) })
	were := make(map[string]map[uint64]bool) // the revisions that a path ever had, 0 for absence
	had := func(path string) {
		if were[path] == nil {
			were[path] = make(map[uint64]bool)
		}
		were[path][there[path].Revision] = true
	}
	follow := 0
	for i, c := range rec.changes {
		if want := last + 1 + uint64(i); c.revision != want {
			t.Fatalf("change %d has revision %d, want %d", i, c.revision, want)
		}
		if follow > 0 && c.batch != follow-1 {
			t.Fatalf("revision %d of %s is in the midst of a batch", c.revision, c.path)
		}
		follow = c.batch
		if c.push {
			c.path = c.stored.Path
		}
		had(c.path)
		old, ok := there[c.path]
		demand := max(c.set.IfRevision, c.ifFound)
		switch {
		case demand != 0 && demand != old.Revision, c.set.IfAbsent && ok, c.del && !ok, c.push && ok:
			t.Fatalf("revision %d, %v, succeeded where there was %s, %v", c.revision, c.modelled, show(old), ok)
		case c.update != nil && c.update.Revision != old.Revision:
			t.Fatalf("revision %d was made from revision %d, there was %d", c.revision, c.update.Revision, old.Revision)
		case c.del:
			delete(there, c.path)
		case ok && (c.stored.Created != old.Created || c.stored.Updated <= old.Updated), !ok && c.stored.Updated != 0:
			t.Fatalf("revision %d stored %s over %s", c.revision, show(c.stored), show(old))
		default:
			there[c.path] = c.stored
		}
		had(c.path)
	}
	for _, conflict := range rec.conflicts {
		had(conflict.Path)
		if !were[conflict.Path][conflict.Current] || conflict.Expected == conflict.Current {
			t.Errorf("%v, which was never so", conflict)
		}
	}
	return there
}

func TestReplay(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rounds := 150
	if testing.Short() {
		rounds = 40
	}
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		fake.onCall(func(method, path string) error {
			if method == "Set" && path == refusedPath {
				return errRefused
			}
			return nil
		})
		fake.onCommit(func(changes []Change) error {
			for i, c := range changes {
				if c.Key == refusedPath {
					return &EntryError{Index: i, Err: errRefused}
				}
			}
			return nil
		})
		there := make(map[string]meta.Object)
		last := s.Stats().Revision
		for run := range 3 {
			var rec replayed
			var group sync.WaitGroup
			for g := range 6 {
				group.Go(func() {
					rec.write(t, k, s, rand.New(rand.NewPCG(seed, uint64(run*10+g))), rounds)
				})
			}
			group.Wait()
			there = rec.replay(t, there, last)
			if n := len(rec.changes); n < rounds {
				t.Errorf("only %d changes succeeded", n)
			}
			keys, err := s.Keys()
			must(t, err)
			for _, path := range keys {
				if obj := object(t, s, path); !same(obj, there[path]) {
					t.Errorf("there is %s, want %s", show(obj), show(there[path]))
				}
			}
			if len(keys) != len(there) {
				t.Errorf("%d objects, want %d", len(keys), len(there))
			}
			restart(t, s)
			if !k.persistent {
				clear(there)
			}
			last = s.Stats().Revision
		}
	})
}
