package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Random calls, compared with a plain model: batches, conditions, updates, expiry, retention, pages, restarts.

const (
	modelLimit = 4                // of the lists m/*
	modelAge   = 20 * time.Minute // of the lists n/*
)

// single makes a change alone.
func (r *randomRun) single() {
	c := r.change()
	r.log("%v", c)
	want := r.verdict(c)
	var got meta.Object
	var err error
	switch {
	case c.del:
		err = r.s.DelWith(c.path, DelOptions{IfRevision: c.ifFound})
		got = meta.Object{Path: c.path, Revision: r.s.Stats().Revision}
	case c.push:
		got, err = r.s.PushWith(c.path, c.data, c.set)
	default:
		got, err = r.s.SetWith(c.path, c.data, c.set)
	}
	if r.wantVerdict(err, want) {
		r.made(c, got)
		r.trim()
	}
}

func (r *randomRun) batch() {
	n := r.IntN(7)
	if !r.k.batches {
		n = min(n, 1)
	}
	var batch Batch
	var changes []modelled
	var want error
	for range n {
		c := r.change()
		if !c.push && slices.ContainsFunc(changes, func(o modelled) bool { return o.path == c.path }) {
			continue
		}
		if verdict := r.verdict(c); want == nil || errors.Is(want, errRefused) && verdict != nil {
			want = verdict // the layer is asked last
		}
		changes = append(changes, c)
		switch {
		case c.del:
			batch.DelWith(c.path, DelOptions{IfRevision: c.ifFound})
		case c.push:
			batch.PushWith(c.path, c.data, c.set)
		default:
			batch.SetWith(c.path, c.data, c.set)
		}
	}
	r.log("batch %v", changes)
	got, err := r.s.Commit(&batch)
	if !r.wantVerdict(err, want) {
		return
	}
	for i, c := range changes {
		if i > 0 && got[i].Revision != got[i-1].Revision+1 {
			r.Fatalf("change %d has revision %d after %d", i, got[i].Revision, got[i-1].Revision)
		}
		r.made(c, got[i])
	}
	r.trim()
}

func (r *randomRun) update() {
	path := r.path()
	r.log("update %s", path)
	old, ok := r.there(path)
	c := modelled{path: path, data: fmt.Appendf(nil, "%d", len(r.trace))}
	var want error
	if path == refusedPath && r.k.persistent {
		want = errRefused
	}
	got, err := r.s.Update(path, func(seen meta.Object) (json.RawMessage, error) {
		if ok && !same(seen, old) || !ok && (seen.Data != nil || seen.Path != path) {
			r.Errorf("update got %s, there is %s", show(seen), show(old))
		}
		return c.data, nil
	})
	if r.wantVerdict(err, want) {
		if ok {
			c.set.Expires = old.Expires
		}
		r.made(c, got)
		r.trim()
	}
}

func (r *randomRun) delGlob() {
	pattern := r.pattern()
	r.log("del %s", pattern)
	must(r, r.s.Del(pattern))
	maps.DeleteFunc(r.model, func(path string, _ meta.Object) bool {
		_, ok := r.there(path)
		return ok && key.Match(pattern, path)
	})
	r.revision = r.s.Stats().Revision
}

// pass lets time go by, and what is due be removed.
func (r *randomRun) pass() {
	d := time.Duration(r.IntN(240)) * time.Second
	r.log("wait %v", d)
	time.Sleep(d)
	r.settle()
}

func (r *randomRun) settle() {
	synctest.Wait()
	r.revision = r.s.Stats().Revision
}

func (r *randomRun) restart() {
	r.log("restart")
	r.s.Close()
	time.Sleep(time.Duration(r.IntN(3)) * time.Minute)
	must(r, r.s.Start(Options{}))
	if !r.k.persistent {
		clear(r.model)
	}
	r.watch()
	r.settle()
}

// watch follows the events from what is shown. What expired while the store was closed may be removed
// before the watch begins, or later.
func (r *randomRun) watch() {
	r.mu.Lock()
	r.mirror = maps.Clone(r.model)
	maps.DeleteFunc(r.mirror, func(path string, _ meta.Object) bool { _, ok := r.there(path); return !ok })
	r.mu.Unlock()
	began := time.Now().UnixNano()
	r.s.Watch(func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case e.Operation == OperationSet:
			r.mirror[e.Key] = *e.Object
		case e.Operation == OperationClear:
			clear(r.mirror)
		case !key.HasGlob(e.Key):
			old, ok := r.mirror[e.Key]
			if e.Object != nil && !ok && e.Object.Expired(began) {
				return
			}
			if !ok || e.Object == nil || !same(old, *e.Object) {
				r.Errorf("the event of a delete has %v, there was %s", e.Object, show(old))
			}
			delete(r.mirror, e.Key)
		default:
			maps.DeleteFunc(r.mirror, func(path string, obj meta.Object) bool {
				return key.Match(e.Key, path) && !obj.Expired(time.Now().UnixNano())
			})
		}
	})
}

// read compares one list, by all the ways to read it, and one point.
func (r *randomRun) read() {
	pattern, path := r.pattern(), r.path()
	r.log("read %s and %s", pattern, path)
	want := r.list(pattern)
	got, err := r.s.GetList(pattern)
	must(r, err)
	if !sameLists(got, want) {
		r.Fatalf("%s lists %v\nwant %v", pattern, shown(got), shown(want))
	}
	if n, err := r.s.Count(pattern); n != len(want) || err != nil {
		r.Fatalf("Count(%q) = %d, %v, want %d", pattern, n, err, len(want))
	}
	opt := ListOptions{Descending: r.IntN(2) == 0, Limit: 1 + r.IntN(4)}
	if opt.Descending {
		slices.Reverse(want)
	}
	if got, _ := pages(r, r.s, pattern, opt); !sameLists(got, want) {
		r.Fatalf("pages of %d of %s show %v\nwant %v", opt.Limit, pattern, shown(got), shown(want))
	}
	obj, err := r.s.Get(path)
	there, ok := r.there(path)
	if (err == nil) != ok || ok && !same(obj, there) || !ok && !errors.Is(err, ErrNotFound) {
		r.Fatalf("Get(%q) = %s, %v, want %s, %v", path, show(obj), err, show(there), ok)
	}
}

func shown(list []meta.Object) (lines []string) {
	for _, obj := range list {
		lines = append(lines, show(obj))
	}
	return lines
}

// compareAll compares the whole content, and that of the layer and of the watcher's mirror.
func (r *randomRun) compareAll() {
	var want []string
	for path := range r.model {
		if _, ok := r.there(path); ok {
			want = append(want, path)
		}
	}
	slices.Sort(want)
	keys, err := r.s.Keys()
	must(r, err)
	if !slices.Equal(keys, want) {
		r.Fatalf("Keys are %q\nwant %q", keys, want)
	}
	synctest.Wait() // what the read found expired is removed too
	maps.DeleteFunc(r.model, func(_ string, obj meta.Object) bool { return obj.Expired(time.Now().UnixNano()) })
	r.settle()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !maps.EqualFunc(r.mirror, r.model, same) {
		r.Fatalf("a watcher has %d objects, there are %d, or others", len(r.mirror), len(r.model))
	}
	if content := r.fake.content(); r.k.persistent && len(content) != len(r.model) {
		r.Fatalf("the layer has %d objects, there are %d", len(content), len(r.model))
	}
}

func (r *randomRun) step() {
	switch n := r.IntN(100); {
	case n < 35:
		r.single()
	case n < 50:
		r.batch()
	case n < 60:
		r.update()
	case n < 64:
		r.delGlob()
	case n < 75:
		r.pass()
	case n < 95:
		r.read()
	case n < 98:
		r.compareAll()
	case n < 99:
		r.restart()
	default:
		r.log("clear")
		must(r, r.s.Truncate())
		clear(r.model)
		r.revision = r.s.Stats().Revision
	}
}

func TestRandomCalls(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	steps := 1500
	if testing.Short() {
		steps = 300
	}
	for i, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Logf("seed %d", seed)
			synctest.Test(t, func(t *testing.T) {
				rules := []Retention{{Pattern: "n/*", Age: modelAge}}
				if k.batches {
					rules = append(rules, Retention{Pattern: "m/*", Count: modelLimit})
				}
				fake := newFakeBatcher()
				fake.onCall(func(method, path string) error {
					if method == "Set" && path == refusedPath {
						return errRefused
					}
					return nil
				})
				fake.onCommit(func(changes []Change) error {
					for i, c := range changes {
						if c.Key == refusedPath && c.Object != nil {
							return &EntryError{Index: i, Err: errRefused}
						}
					}
					return nil
				})
				r := &randomRun{
					T: t, Rand: rand.New(rand.NewPCG(seed, uint64(i))), k: k, fake: fake,
					s: start(t, k.over(fake), Options{Retention: rules}), model: make(map[string]meta.Object),
				}
				defer func() {
					if t.Failed() {
						t.Logf("seed %d, the last calls:\n\t%s", seed, strings.Join(r.trace[max(0, len(r.trace)-30):], "\n\t"))
					}
				}()
				r.watch()
				for range steps {
					r.step()
				}
				r.compareAll()
			})
		})
	}
}
