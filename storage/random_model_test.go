package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// The model of the random calls in random_test.go.

// refusedPath is where the layer of a persistent store takes no object.
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

// modelled is one change of a call or of a batch.
type modelled struct {
	path    string // the pattern of a push
	data    json.RawMessage
	del     bool
	push    bool
	set     SetOptions
	ifFound uint64 // the revision that a delete demands
}

func (c modelled) String() string {
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

func (r *randomRun) change() modelled {
	c := modelled{path: r.path(), data: fmt.Appendf(nil, "%d", len(r.trace))}
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
func (r *randomRun) verdict(c modelled) error {
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
func (r *randomRun) made(c modelled, got meta.Object) {
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
