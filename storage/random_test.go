package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
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

// refused is what the layer of a persistent store takes at no path.
const refusedPath = "a/refused"

// randomRun is a store and its model, a map of what is there, expired or not.
type randomRun struct {
	*testing.T
	*rand.Rand
	k     kind
	s     *Layered
	fake  *fakeBatcher
	model map[string]meta.Object
	// mirror is what a watcher makes of the events. It is used by the watch, and between calls.
	mirror   map[string]meta.Object
	mu       sync.Mutex // guards mirror
	revision uint64     // the highest that was seen
	trace    []string
}

func (r *randomRun) log(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, args...))
}

// there returns what the model shows at a path.
func (r *randomRun) there(path string) (meta.Object, bool) {
	obj, ok := r.model[path]
	return obj, ok && !obj.Expired(time.Now().UnixNano())
}

// list returns what the model shows of a pattern, oldest first.
func (r *randomRun) list(pattern string) []meta.Object {
	list := []meta.Object{}
	for path := range r.model {
		if obj, ok := r.there(path); ok && key.Match(pattern, path) {
			list = append(list, obj)
		}
	}
	slices.SortFunc(list, func(a, b meta.Object) int {
		return compareByTime(&a, &b)
	})
	return list
}

func compareByTime(a, b *meta.Object) int {
	switch {
	case a.Created < b.Created || a.Created == b.Created && a.Path < b.Path:
		return -1
	case a.Created == b.Created && a.Path == b.Path:
		return 0
	}
	return 1
}

func (r *randomRun) path() string {
	dirs := []string{"a", "b/c", "m", "n", "m/x"}
	path := dirs[r.IntN(len(dirs))] + "/" + string(rune('1'+r.IntN(6)))
	if r.IntN(25) == 0 {
		return refusedPath
	}
	return path
}

func (r *randomRun) pattern() string {
	patterns := []string{"a/*", "b/c/*", "m/*", "n/*", "*/1", "*/*", "*/*/*", "m/x/*", "*/x/1*", "b*/c/*"}
	return patterns[r.IntN(len(patterns))]
}

// change is one change of a call or of a batch.
type change struct {
	path    string // the pattern of a push
	data    json.RawMessage
	del     bool
	push    bool
	set     SetOptions
	ifFound uint64 // the revision that a delete demands
}

func (c change) String() string {
	what := "set"
	if c.del {
		what = fmt.Sprintf("del (of %d)", c.ifFound)
	} else if c.push {
		what = "push"
	}
	times := "now"
	if c.set.Times != nil {
		times = fmt.Sprint(*c.set.Times)
	}
	return fmt.Sprintf("%s %s %s ttl %v expires %d of %d absent %v at %s",
		what, c.path, c.data, c.set.TTL, c.set.Expires, c.set.IfRevision, c.set.IfAbsent, times)
}

func (r *randomRun) change() change {
	c := change{path: r.path(), data: fmt.Appendf(nil, "%d", len(r.trace))}
	there, ok := r.there(c.path)
	revision := uint64(0)
	switch n := r.IntN(10); {
	case n < 2 && ok:
		revision = there.Revision
	case n == 2:
		revision = 1 + uint64(r.Int64N(int64(r.revision+1)))
	}
	switch n := r.IntN(20); {
	case n < 4:
		c.del, c.ifFound = true, revision
		return c
	case n < 7:
		c.push, c.path = true, r.path()[:1]+"/*"
	default:
		c.set.IfRevision = revision
		c.set.IfAbsent = revision == 0 && r.IntN(6) == 0
		if r.IntN(4) == 0 {
			c.set.Times = &Times{Created: time.Now().UnixNano() - int64(r.IntN(30))*int64(time.Minute), Updated: int64(r.IntN(3))}
		}
	}
	switch r.IntN(8) {
	case 0, 1:
		c.set.TTL = time.Duration(1+r.IntN(20)) * time.Minute
	case 2:
		c.set.Expires = time.Now().UnixNano() + int64(r.IntN(5)-1)*int64(time.Minute)
	}
	return c
}

// verdict is the error that a change must get, by the model; nil for none.
func (r *randomRun) verdict(c change) error {
	there, ok := r.there(c.path)
	expected := max(c.set.IfRevision, c.ifFound)
	current := uint64(0)
	if ok {
		current = there.Revision
	}
	switch {
	case c.push:
		return nil
	case expected != 0 && expected != current, c.set.IfAbsent && ok:
		return &ConflictError{Path: c.path, Expected: expected, Current: current}
	case c.del && !ok:
		return ErrNotFound
	case !c.del && c.path == refusedPath && r.k.persistent:
		return errRefused
	}
	return nil
}

var errRefused = errors.New("refused on purpose")

// wantVerdict verifies the error of a call against what the model says, and reports whether it worked.
func (r *randomRun) wantVerdict(err, want error) bool {
	r.Helper()
	if conflict, ok := errors.AsType[*ConflictError](want); ok {
		if got, ok := errors.AsType[*ConflictError](err); !ok || *got != *conflict {
			r.Fatalf("got %v, want %v", err, want)
		}
		return false
	}
	if (err == nil) != (want == nil) || want != nil && !errors.Is(err, want) {
		r.Fatalf("got %v, want %v", err, want)
	}
	return want == nil
}

// made takes the outcome of a change that worked into the model, after it was compared.
func (r *randomRun) made(c change, got meta.Object) {
	r.Helper()
	if got.Revision <= r.revision {
		r.Fatalf("revision %d after %d", got.Revision, r.revision)
	}
	r.revision = got.Revision
	if c.del {
		if got.Path != c.path || got.Data != nil {
			r.Fatalf("a delete returned %s", show(got))
		}
		delete(r.model, c.path)
		return
	}
	want := meta.Object{Path: c.path, Data: c.data, Revision: got.Revision, Expires: c.set.Expires}
	if c.set.TTL > 0 {
		want.Expires = time.Now().Add(c.set.TTL).UnixNano()
	}
	if c.push {
		want.Path = strings.TrimSuffix(c.path, "*") + got.Index
	}
	want.Index = key.LastIndex(want.Path)
	old, ok := r.there(want.Path)
	switch {
	case c.set.Times != nil:
		want.Created, want.Updated = c.set.Times.Created, c.set.Times.Updated
	case ok:
		want.Created, want.Updated = old.Created, max(got.Updated, 1)
	default:
		want.Created = max(got.Created, 1)
	}
	if want.Expires = endByRule(want, want.Expires); !same(got, want) {
		r.Fatalf("stored is %s\nwant      %s", show(got), show(want))
	}
	r.model[want.Path] = got
}

// endByRule is the end of an object by its own time to live and by the rule for n/*.
func endByRule(obj meta.Object, own int64) int64 {
	if end := obj.Created + int64(modelAge); key.Match("n/*", obj.Path) && (own == 0 || end < own) {
		return end
	}
	return own
}

// trim cuts the lists with a limit, once a commit is in the model. It removes as few as can be.
func (r *randomRun) trim() {
	if !r.k.batches {
		return
	}
	list := r.list("m/*")
	for len(list) > modelLimit {
		delete(r.model, list[0].Path)
		r.revision++
		list = list[1:]
	}
}

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
	var changes []change
	var want error
	for range n {
		c := r.change()
		if !c.push && slices.ContainsFunc(changes, func(o change) bool { return o.path == c.path }) {
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
	c := change{path: path, data: fmt.Appendf(nil, "%d", len(r.trace))}
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
