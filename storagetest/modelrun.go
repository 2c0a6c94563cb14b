package storagetest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// TestModel makes random calls to a database and to a Model and compares all results, and the events at the end. The
// calls depend only on the seed. A failure prints the seed and the calls up to it.
func TestModel(t *testing.T, open func(t T) storage.Database, opts Options, seed uint64) {
	t.Helper()
	t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
		t.Helper()
		CheckModel(t, open, opts, RandomChoices(seed, 6000))
	})
}

// RandomChoices returns n bytes derived from a seed, for CheckModel.
func RandomChoices(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	choices := make([]byte, n)
	for i := range choices {
		choices[i] = byte(rng.Uint32())
	}
	return choices
}

// CheckModel is TestModel with calls taken from bytes, a few for each: the target of a fuzz test.
func CheckModel(t T, open func(t T) storage.Database, opts Options, choices []byte) {
	t.Helper()
	s := &subject{Options: opts, openDatabase: open}
	r := &modelRun{t: t, s: s, model: NewModel(), choices: choices}
	t.Cleanup(func() {
		t.Helper()
		if t.Failed() {
			t.Logf("the calls:\n\t%s", strings.Join(r.trace, "\n\t"))
		}
	})
	r.db = s.started(t, storage.Options{})
	r.events = collect(t, r.db)
	for len(r.choices) > 0 && !t.Failed() {
		modelOps[r.choose(len(modelOps))](r)
	}
	r.compareAll()
	r.db.Close()
	r.compareEvents()
}

// modelRun is the state of one comparison.
type modelRun struct {
	t       T
	s       *subject
	db      storage.Database
	model   *Model
	events  *collector
	choices []byte
	trace   []string
	// sent are the events that the changes of this run must send.
	sent []expectedEvent
	// revision and clock are the highest that any object got.
	revision uint64
	clock    int64
}

// expectedEvent is an event that must arrive. An optional one may be missing.
type expectedEvent struct {
	storage.Event
	optional bool
}

// modelOps are the calls to choose from. Writes are more frequent than others.
var modelOps = []func(r *modelRun){
	(*modelRun).set, (*modelRun).set, (*modelRun).set, (*modelRun).set, (*modelRun).set,
	(*modelRun).setWithMeta, (*modelRun).setWithMeta, (*modelRun).setWithMeta,
	(*modelRun).push, (*modelRun).push, (*modelRun).lockedSet,
	(*modelRun).del, (*modelRun).del, (*modelRun).delSilent, (*modelRun).delGlob, (*modelRun).refused,
	(*modelRun).get, (*modelRun).get, (*modelRun).keys, (*modelRun).list, (*modelRun).list, (*modelRun).listDescending,
	(*modelRun).getN, (*modelRun).getN, (*modelRun).getNAscending, (*modelRun).getNRange, (*modelRun).getNRange,
	(*modelRun).keysRange, (*modelRun).keysRange, (*modelRun).rarely,
}

// rarely makes calls that would leave too little content if they were frequent.
func (r *modelRun) rarely() {
	switch r.choose(8) {
	case 0:
		r.clear()
	case 1:
		r.restart()
	default:
		r.compareAll()
	}
}

// choose returns the next choice out of n; 0 when the choices have run out.
func (r *modelRun) choose(n int) int {
	if len(r.choices) == 0 {
		return 0
	}
	c := r.choices[0]
	r.choices = r.choices[1:]
	return int(c) % n
}

func (r *modelRun) log(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, args...))
}

// path chooses one of few paths, so calls often use the same one.
func (r *modelRun) path() string {
	segments := []string{"a", "b", "aa", "ab", "c-1"}
	all := make([]string, 1+r.choose(3))
	for i := range all {
		all[i] = segments[r.choose(len(segments))]
	}
	return strings.Join(all, "/")
}

// pattern turns a path into a pattern. Rarely it has no star.
func (r *modelRun) pattern() string {
	all := strings.Split(r.path(), "/")
	for i, segment := range all {
		switch r.choose(5) {
		case 0, 1:
			all[i] = "*"
		case 2:
			all[i] = segment[:1] + "*"
		case 3:
			all[i] = "*" + segment[len(segment)-1:]
		}
	}
	if r.choose(5) == 0 {
		all[len(all)-1] = "**"
	}
	return strings.Join(all, "/")
}

// data returns a unique value.
func (r *modelRun) data() json.RawMessage { return dataOf(int64(len(r.trace))) }

// wrote checks the object of a successful write and adds it to the model.
func (r *modelRun) wrote(call string, err error, index string, want meta.Object) {
	r.t.Helper()
	must(r.t, call, err)
	got, err := r.db.Get(want.Path)
	must(r.t, "Get after "+call, err)
	if got.Revision <= r.revision {
		r.t.Errorf("%s: revision is %d, want more than %d", call, got.Revision, r.revision)
	}
	want.Revision = got.Revision
	want.Index = index
	if d := diff(got, want); d != "" {
		r.t.Errorf("%s: %s", call, d)
	}
	r.revision = max(r.revision, got.Revision)
	r.model.Put(got)
	r.send(storage.Event{Key: got.Path, Operation: storage.OperationSet, Object: &got}, false)
}

func (r *modelRun) send(e storage.Event, optional bool) {
	r.sent = append(r.sent, expectedEvent{e, optional})
}

// stamped returns the object that a Set must store, with the time set by the store.
func (r *modelRun) stamped(path string, data json.RawMessage) meta.Object {
	r.t.Helper()
	want := meta.Object{Path: path, Data: data}
	got, err := r.db.Get(path)
	must(r.t, "Get "+path, err)
	now := &want.Created
	if old, exists := r.model.Get(path); exists {
		want.Created, want.Updated = old.Created, got.Updated
		now = &want.Updated
	} else {
		want.Created = got.Created
	}
	if *now <= r.clock {
		r.t.Errorf("time of a write at %s is %d, want more than %d", path, *now, r.clock)
	}
	r.clock = max(r.clock, *now)
	return want
}

func (r *modelRun) set() {
	path, data := r.path(), r.data()
	r.log("Set %s %s", path, data)
	index, err := r.db.Set(path, data)
	must(r.t, "Set "+path, err)
	r.wrote("Set "+path, err, index, r.stamped(path, data))
}

func (r *modelRun) push() {
	pattern, data := r.path()+"/*", r.data()
	index, err := r.db.Push(pattern, data)
	r.log("Push %s %s: %s", pattern, data, index)
	must(r.t, "Push "+pattern, err)
	path := strings.TrimSuffix(pattern, "*") + index
	if _, exists := r.model.Get(path); exists {
		r.t.Errorf("Push %s returned %q, which exists", pattern, index)
	}
	r.wrote("Push "+pattern, err, index, r.stamped(path, data))
}

func (r *modelRun) setWithMeta() {
	path, data := r.path(), r.data()
	created, updated := int64(r.choose(12))-2, int64(r.choose(4))
	r.log("SetWithMeta %s %s %d %d", path, data, created, updated)
	index, err := r.db.SetWithMeta(path, data, created, updated)
	r.wrote("SetWithMeta "+path, err, index, meta.Object{Path: path, Data: data, Created: created, Updated: updated})
}

func (r *modelRun) lockedSet() {
	path, data := r.path(), r.data()
	r.log("GetAndLock %s", path)
	got, err := r.db.GetAndLock(path)
	want, exists := r.model.Get(path)
	if !exists {
		wantErr(r.t, "GetAndLock "+path, err, storage.ErrNotFound)
		wantErr(r.t, "Unlock "+path, r.db.Unlock(path), storage.ErrLockNotFound)
		return
	}
	must(r.t, "GetAndLock "+path, err)
	if d := diff(got, want); d != "" {
		r.t.Errorf("GetAndLock %s: %s", path, d)
	}
	r.log("SetAndUnlock %s %s", path, data)
	index, err := r.db.SetAndUnlock(path, data)
	must(r.t, "SetAndUnlock "+path, err)
	r.wrote("SetAndUnlock "+path, err, index, r.stamped(path, data))
}

func (r *modelRun) del() {
	path := r.path()
	r.log("Del %s", path)
	err := r.db.Del(path)
	old, exists := r.model.Get(path)
	if !exists {
		wantErr(r.t, "Del "+path, err, storage.ErrNotFound)
		return
	}
	must(r.t, "Del "+path, err)
	r.model.Del(path)
	r.send(storage.Event{Key: path, Operation: storage.OperationDel, Object: &old}, false)
}

func (r *modelRun) delSilent() {
	path := r.pattern()
	r.log("DelSilent %s", path)
	err := r.db.DelSilent(path)
	if r.model.Del(path) == 0 && !strings.Contains(path, "*") {
		wantErr(r.t, "DelSilent "+path, err, storage.ErrNotFound)
		return
	}
	must(r.t, "DelSilent "+path, err)
}

func (r *modelRun) delGlob() {
	pattern := r.pattern()
	if !strings.Contains(pattern, "*") {
		return
	}
	r.log("Del %s", pattern)
	must(r.t, "Del "+pattern, r.db.Del(pattern))
	removed := r.model.Del(pattern)
	// A delete of nothing may or may not send an event.
	r.send(storage.Event{Key: pattern, Operation: storage.OperationDel}, removed == 0)
}

// refused makes calls that must fail.
func (r *modelRun) refused() {
	path := r.path()
	r.log("refused calls with %s", path)
	_, err := r.db.Set(path, json.RawMessage(`{"a":`))
	wantErr(r.t, "Set of broken data", err, storage.ErrInvalidStorageData)
	_, err = r.db.Set(path+"/*", r.data())
	wantErr(r.t, "Set of a glob", err, storage.ErrGlobNotAllowed)
	_, err = r.db.Push(path, r.data())
	wantErr(r.t, "Push without a star", err, storage.ErrGlobRequired)
	_, err = r.db.SetAndUnlock(path, r.data())
	wantErr(r.t, "SetAndUnlock without a lock", err, storage.ErrLockNotFound)
	_, err = r.db.GetN(path+"/*", -1)
	wantErr(r.t, "GetN with limit -1", err, storage.ErrInvalidLimit)
}

func (r *modelRun) clear() {
	r.log("Clear")
	r.db.Clear()
	r.model.Clear()
	r.send(storage.Event{Operation: storage.OperationClear}, false)
}

// restart restarts the store. The events of a run are compared at its end.
func (r *modelRun) restart() {
	r.t.Helper()
	r.log("Close and Start")
	r.db.Close()
	r.compareEvents()
	if r.s.Reopen != nil {
		r.db = r.s.Reopen(r.t, r.db)
	}
	startDatabase(r.t, r.db, storage.Options{})
	r.events = collect(r.t, r.db)
	if !r.s.Persistent {
		r.model.Clear()
		r.revision = 0
	}
	r.compareAll()
}

func (r *modelRun) get() {
	path := r.path()
	r.log("Get %s", path)
	r.compareGet(path)
}

func (r *modelRun) compareGet(path string) {
	r.t.Helper()
	got, err := r.db.Get(path)
	want, exists := r.model.Get(path)
	if !exists {
		wantErr(r.t, "Get "+path, err, storage.ErrNotFound)
		return
	}
	must(r.t, "Get "+path, err)
	if d := diff(got, want); d != "" {
		r.t.Errorf("Get %s: %s", path, d)
	}
}

func (r *modelRun) keys() {
	r.log("Keys")
	keys, err := r.db.Keys()
	must(r.t, "Keys", err)
	wantPaths(r.t, "Keys", keys, r.model.Keys())
}

// compareList checks a list call of a pattern against the model's list.
func (r *modelRun) compareList(call, pattern string, got []meta.Object, err error, want []meta.Object) {
	r.t.Helper()
	if !strings.Contains(pattern, "*") {
		wantErr(r.t, call, err, storage.ErrInvalidPattern)
		return
	}
	must(r.t, call, err)
	wantPaths(r.t, call, paths(got), paths(want))
	for i := range min(len(got), len(want)) {
		if d := diff(got[i], want[i]); d != "" {
			r.t.Errorf("%s, object %d: %s", call, i, d)
		}
	}
}

func (r *modelRun) list() {
	pattern := r.pattern()
	r.log("GetList %s", pattern)
	got, err := r.db.GetList(pattern)
	r.compareList("GetList "+pattern, pattern, got, err, r.model.List(pattern))
}

func (r *modelRun) listDescending() {
	pattern := r.pattern()
	r.log("GetListDescending %s", pattern)
	got, err := r.db.GetListDescending(pattern)
	r.compareList("GetListDescending "+pattern, pattern, got, err, r.model.Newest(pattern, 0))
}

func (r *modelRun) getN() {
	pattern, limit := r.pattern(), r.choose(8)
	r.log("GetN %s %d", pattern, limit)
	got, err := r.db.GetN(pattern, limit)
	r.compareList(fmt.Sprintf("GetN %s %d", pattern, limit), pattern, got, err, r.model.Newest(pattern, limit))
}

func (r *modelRun) getNAscending() {
	pattern, limit := r.pattern(), r.choose(8)
	r.log("GetNAscending %s %d", pattern, limit)
	got, err := r.db.GetNAscending(pattern, limit)
	r.compareList(fmt.Sprintf("GetNAscending %s %d", pattern, limit), pattern, got, err, r.model.Oldest(pattern, limit))
}

// span chooses a range, often bounded by the time of an object.
func (r *modelRun) span(pattern string) (from, to int64) {
	ends := []int64{math.MinInt64, -1, 0, 1, 3, 6, 9, math.MaxInt64}
	for _, obj := range r.model.List(pattern) {
		ends = append(ends, obj.Created)
	}
	from, to = ends[r.choose(len(ends))], ends[r.choose(len(ends))]
	return min(from, to), max(from, to)
}

func (r *modelRun) getNRange() {
	pattern, limit := r.pattern(), 1+r.choose(7)
	from, to := r.span(pattern)
	r.log("GetNRange %s %d %d %d", pattern, limit, from, to)
	got, err := r.db.GetNRange(pattern, limit, from, to)
	want := r.model.Range(pattern, from, to)
	slices.Reverse(want)
	call := fmt.Sprintf("GetNRange %s %d from %d to %d", pattern, limit, from, to)
	r.compareList(call, pattern, got, err, limited(want, limit))
}

func (r *modelRun) keysRange() {
	pattern := r.pattern()
	from, to := r.span(pattern)
	r.log("KeysRange %s %d %d", pattern, from, to)
	got, err := r.db.KeysRange(pattern, from, to)
	call := fmt.Sprintf("KeysRange %s from %d to %d", pattern, from, to)
	if !strings.Contains(pattern, "*") {
		wantErr(r.t, call, err, storage.ErrInvalidPattern)
		return
	}
	must(r.t, call, err)
	wantPaths(r.t, call, got, paths(r.model.Range(pattern, from, to)))
}

// compareAll checks the whole content.
func (r *modelRun) compareAll() {
	r.t.Helper()
	keys, err := r.db.Keys()
	must(r.t, "Keys", err)
	wantPaths(r.t, "Keys", keys, r.model.Keys())
	for _, path := range r.model.Keys() {
		r.compareGet(path)
	}
	for _, pattern := range []string{"*", "*/*", "*/*/*", "*/*/*/*"} {
		got, err := r.db.GetList(pattern)
		r.compareList("GetList "+pattern, pattern, got, err, r.model.List(pattern))
	}
}

// compareEvents checks after Close that each shard has delivered the sent events in order.
func (r *modelRun) compareEvents() {
	r.t.Helper()
	r.s.within(r.t, "the channels close", r.events.closed.Wait)
	for shard := range r.events.shards.Count() {
		got := []storage.Event{}
		for i, e := range r.events.all() {
			if r.events.shard[i] == shard {
				got = append(got, e)
			}
		}
		for _, want := range r.sent {
			if r.events.shards.ShardFor(want.Key) != shard {
				continue
			}
			if len(got) > 0 && sameEvent(got[0], want.Event) {
				got = got[1:]
				continue
			}
			if want.optional {
				continue
			}
			r.t.Errorf("shard %d: the event %s is missing; the next ones are: %s", shard, show(want.Event), showAll(got))
			return
		}
		if len(got) > 0 {
			r.t.Errorf("shard %d has events of no change: %s", shard, showAll(got))
		}
	}
	r.sent = nil
}

// sameEvent reports whether two events are equal.
func sameEvent(a, b storage.Event) bool {
	if a.Key != b.Key || a.Operation != b.Operation || (a.Object == nil) != (b.Object == nil) {
		return false
	}
	return a.Object == nil || diff(*a.Object, *b.Object) == ""
}
