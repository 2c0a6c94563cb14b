package storagetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// errInjected is the error of the injection tests.
var errInjected = errors.New("injected")

// change is one step of a workload: a call and what it does to the model.
type change struct {
	name string
	call func(db storage.Database) error
	// path is what the step sets; empty for a delete.
	path    string
	deletes string
	clears  bool
}

func setStep(path string, n int64) change {
	return change{name: "Set " + path, path: path, call: func(db storage.Database) error {
		_, err := db.Set(path, dataOf(n))
		return err
	}}
}

func delStep(path string) change {
	return change{name: "Del " + path, deletes: path, call: func(db storage.Database) error { return db.Del(path) }}
}

// workload touches each kind of change.
var workload = []change{
	setStep("a/1", 1), setStep("a/2", 2), setStep("a/1", 3), setStep("b/1", 4), delStep("a/2"),
	{name: "SetWithMeta a/3", path: "a/3", call: func(db storage.Database) error {
		_, err := db.SetWithMeta("a/3", dataOf(5), 7, 8)
		return err
	}},
	setStep("a/4", 6), delStep("a/*"), setStep("a/5", 7), setStep("b/2", 8), delStep("*/*"), setStep("c/1", 9),
	{name: "Truncate", clears: true, call: func(db storage.Database) error {
		return db.(interface{ Truncate() error }).Truncate()
	}},
	setStep("d/1", 10), setStep("d/2", 11), setStep("d/1", 12),
}

// apply does to a model what the step did to a store that holds these objects.
func (c change) apply(m *Model, stored func(path string) (meta.Object, error)) (storage.Event, error) {
	switch {
	case c.clears:
		m.Clear()
		return storage.Event{Operation: storage.OperationClear}, nil
	case c.path != "":
		obj, err := stored(c.path)
		m.Put(obj)
		return storage.Event{Key: c.path, Operation: storage.OperationSet, Object: &obj}, err
	}
	event := storage.Event{Key: c.deletes, Operation: storage.OperationDel}
	if old, exists := m.Get(c.deletes); exists {
		event.Object = &old
	}
	m.Del(c.deletes)
	return event, nil
}

// contentOf reads everything.
func contentOf(t T, store interface {
	Keys() ([]string, error)
	Get(string) (meta.Object, error)
}) *Model {
	t.Helper()
	m := NewModel()
	keys, err := store.Keys()
	must(t, "Keys", err)
	for _, path := range keys {
		obj, err := store.Get(path)
		must(t, "Get "+path, err)
		m.Put(obj)
	}
	return m
}

// differences says in what two models differ; times and revisions count unless loose.
func differences(got, want *Model, loose bool) string {
	if g, w := got.Keys(), want.Keys(); fmt.Sprint(g) != fmt.Sprint(w) {
		return fmt.Sprintf("paths are %v, want %v", g, w)
	}
	for _, path := range want.Keys() {
		g, _ := got.Get(path)
		w, _ := want.Get(path)
		if loose && string(g.Data) == string(w.Data) {
			continue
		}
		if d := diff(g, w); d != "" {
			return path + ": " + d
		}
	}
	return ""
}

// injection is one run of the workload with one fault.
type injection struct {
	t      *testing.T
	faults *Faults
	db     storage.Database
	// cache says that reads may come from the layer: after a change of which nobody knows
	// they show what the layer made of it.
	cache  bool
	events *watched
	hook   *recording // of AfterWrite
	model  *Model
	// doubt is the model as it is if the change that stopped the store was kept.
	doubt *Model
	sent  []storage.Event
}

// run makes all calls and takes what was acknowledged into the model.
func (in *injection) run() {
	t := in.t
	stopped := false
	for _, c := range workload {
		err := c.call(in.db)
		switch {
		case err == nil:
			if stopped {
				t.Errorf("%s: a store that has stopped its writes takes one", c.name)
			}
			event, err := c.apply(in.model, in.get)
			must(t, "Get after "+c.name, err)
			in.sent = append(in.sent, event)
		case stopped:
			wantErr(t, c.name+" after a failed commit", err, storage.ErrWritesStopped)
		case errors.Is(err, storage.ErrWritesStopped):
			stopped = true
			wantErr(t, c.name, err, errInjected)
			in.doubt = in.doubtful(c)
		case errors.Is(err, storage.ErrNotFound):
			if c.path != "" {
				t.Errorf("%s: %v", c.name, err)
			}
			if _, exists := in.model.Get(c.deletes); exists {
				t.Errorf("%s: %v", c.name, err)
			}
		default:
			wantErr(t, c.name, err, errInjected)
		}
	}
}

// get reads what was written. A cache reads it from the layer, and that may be the call that fails.
func (in *injection) get(path string) (meta.Object, error) {
	obj, err := in.db.Get(path)
	if in.cache && errors.Is(err, errInjected) {
		return in.db.Get(path)
	}
	return obj, err
}

// doubtful is what the model would be with a change of which nobody knows.
func (in *injection) doubtful(c change) *Model {
	m := NewModel()
	for _, obj := range in.model.objects {
		m.Put(obj)
	}
	_, _ = c.apply(m, func(path string) (meta.Object, error) {
		obj := meta.Object{Path: path}
		for i, other := range workload {
			if other.name == c.name {
				obj.Data = workloadData(i)
			}
		}
		return obj, nil
	})
	return m
}

// maybe reports whether the content is what it is if the doubtful change was kept.
func (in *injection) maybe(content *Model) bool {
	return in.doubt != nil && slices.Equal(content.Keys(), in.doubt.Keys())
}

// workloadData is what a step of the workload sets. A step that sets a path again stands
// for all that set it: the check of a doubtful change compares paths.
func workloadData(i int) json.RawMessage { return dataOf(int64(i)) }

// check compares memory, the events, the layer after Close, and the store after a restart.
func (in *injection) check(layer storage.EmbeddedLayer) {
	t := in.t
	read := contentOf(t, in.db)
	if d := differences(read, in.model, false); d != "" && !(in.cache && in.maybe(read)) {
		t.Errorf("reads after the workload: %s", d)
	}
	in.db.Close()
	var hooked []string
	for _, e := range in.sent {
		if e.Operation != storage.OperationClear {
			hooked = append(hooked, e.Key)
		}
	}
	if got := in.hook.take(); !slices.Equal(got, hooked) {
		t.Errorf("AfterWrite ran for %q, want %q", got, hooked)
	}
	events := in.events.all()
	if len(events) != len(in.sent) {
		t.Errorf("%d events, want the %d acknowledged changes: %s", len(events), len(in.sent), showAll(events))
	}
	for i := range min(len(events), len(in.sent)) {
		if !sameEvent(events[i], in.sent[i]) {
			t.Errorf("event %d is %s, want %s", i, show(events[i]), show(in.sent[i]))
		}
	}
	in.faults.Reset()
	must(t, "Start of the layer alone", layer.Start(storage.LayerOptions{}))
	kept := contentOf(t, layer)
	layer.Close()
	if d := differences(kept, in.model, false); d != "" && !in.maybe(kept) {
		t.Errorf("the persistent layer: %s", d)
	}
	must(t, "Start after the fault", in.db.Start(quiet(storage.Options{})))
	if d := differences(contentOf(t, in.db), kept, false); d != "" {
		t.Errorf("reads after a restart: %s", d)
	}
	obj := set(t, in.db, "after", 1)
	for _, path := range kept.Keys() {
		if old, _ := kept.Get(path); old.Revision >= obj.Revision {
			t.Errorf("revision %d of %s is used again: the next write has %d", old.Revision, path, obj.Revision)
		}
	}
	in.db.Close()
}

// faultKind is a fault that a test has at each call in turn.
type faultKind struct {
	name  string
	fault Fault
}

// atEachCall has each fault at the first call of the persistent layer, then at the second and so on, over each kind
// of layer and with memory whole and as a cache, until try returns false.
func atEachCall(t *testing.T, kinds []faultKind, try func(t *testing.T, layer storage.EmbeddedLayer, cache bool, fault Fault) bool) {
	for _, l := range layerKinds {
		for _, cache := range []bool{false, true} {
			for _, kind := range kinds {
				t.Run(fmt.Sprintf("%s, cache %v, %s", l.name, cache, kind.name), func(t *testing.T) {
					fault := kind.fault
					for fault.N = 1; try(t, l.open(&Disk{}, "d"), cache, fault); fault.N++ {
						if t.Failed() {
							t.Fatalf("the fault was at call %d", fault.N)
						}
					}
				})
			}
		}
	}
}

// withFault returns a store over a layer that has a fault.
func withFault(layer storage.EmbeddedLayer, cache bool, fault Fault) (*Faults, *storage.Layered) {
	faults := &Faults{}
	faults.Inject(fault)
	return faults, storage.New(storage.LayeredConfig{
		Memory:        storage.NewMemoryLayer(),
		MemoryOptions: storage.LayerOptions{SkipLoadMemory: cache},
		Persistent:    faults.Wrap(layer),
	})
}

// TestInjection fails each call of the persistent layer in turn, Start included: what is in
// memory, in the layer, in the events and told to the hook is what was acknowledged, and only that.
func TestInjection(t *testing.T) {
	atEachCall(t, []faultKind{
		{"error before the call", Fault{Err: errInjected}},
		{"error after a commit", Fault{Method: "Commit", Err: errInjected, After: true}},
		{"refused entry", Fault{Method: "Commit", Err: &storage.EntryError{Index: 0, Err: errInjected}}},
		{"panic of Commit", Fault{Method: "Commit", Panic: errInjected}},
		// A Del that panics leaves a part of a glob delete, as a crash of such a layer would.
		{"panic of Set", Fault{Method: "Set", Panic: errInjected}},
	}, injectAt)
}

// injectAt runs the workload with a fault at one call. It returns false when there
// were fewer calls than that.
func injectAt(t *testing.T, layer storage.EmbeddedLayer, cache bool, fault Fault) bool {
	t.Helper()
	faults, db := withFault(layer, cache, fault)
	var hook recording
	options := quiet(storage.Options{AfterWrite: hook.add})
	if err := db.Start(options); err != nil {
		wantErr(t, "Start", err, errInjected)
		if db.Active() || layer.Active() {
			t.Errorf("after a Start that failed the store or its layer is active")
		}
		must(t, "second Start", db.Start(options))
	}
	in := &injection{t: t, faults: faults, db: db, cache: cache, hook: &hook, model: NewModel()}
	in.events = watch(db)
	in.run()
	calls := faults.Calls(fault.Method)
	// The reads of the checks are not part of the workload.
	faults.Reset()
	in.check(layer)
	return calls >= fault.N
}

func TestFaults(t *testing.T) {
	disk := &Disk{}
	faults := &Faults{}
	l := faults.Wrap(NewPlainLayer(disk, "d"))
	if _, ok := l.(storage.Batcher); ok {
		t.Errorf("a wrapped plain layer is a Batcher")
	}
	if _, ok := l.(storage.Scanner); ok {
		t.Errorf("a wrapped plain layer is a Scanner")
	}
	must(t, "Start", l.Start(storage.LayerOptions{}))
	faults.Inject(Fault{Method: "Set", N: 2, Err: errInjected})
	faults.Inject(Fault{Method: "Del", Err: errInjected, After: true})
	faults.Inject(Fault{Method: "Keys", N: 1, Panic: "on purpose"})
	a, b := object("a", 1), object("b", 2)
	must(t, "first Set", l.Set("a", &a))
	wantErr(t, "second Set", l.Set("b", &b), errInjected)
	must(t, "third Set", l.Set("b", &b))
	wantErr(t, "Del", l.Del("b"), errInjected)
	if text := <-guarded(func() { _, _ = l.Keys() }); text == "" {
		t.Errorf("Keys does not panic")
	}
	if got := faults.Calls("Set"); got != 3 {
		t.Errorf("Calls of Set is %d, want 3", got)
	}
	if got := faults.Calls(""); got != 6 {
		t.Errorf("Calls is %d, want 6", got)
	}
	wantContent(t, l, a)
}
