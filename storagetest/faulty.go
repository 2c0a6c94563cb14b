package storagetest

import (
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Fault is a fault at one call of a layer.
type Fault struct {
	// Method is the name of the counted method, for example "Set"; if empty, all of Start, Get, GetList, Set, Del,
	// Keys, Load, Commit, LastRevision, Scan and Clear count.
	Method string
	// N selects one of these calls, from 1; 0 selects all of them.
	N int
	// Err is returned instead of making the call. Clear returns no error and ignores it. The Index of a
	// *storage.EntryError is limited to the present batch.
	Err error
	// After makes the call before returning Err, as if the answer had been lost.
	After bool
	// Delay delays the call.
	Delay time.Duration
	// Panic, unless nil, is the value of a panic instead of the call.
	Panic any
}

// Faults injects faults into the layers that it wraps. Its methods may be called at any time and concurrently.
type Faults struct {
	// mu guards the fields below.
	mu     sync.Mutex
	plan   []Fault
	total  int
	counts map[string]int
}

// Inject adds a fault. Calls count from the creation of the Faults or from the last Reset.
func (f *Faults) Inject(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan = append(f.plan, fault)
}

// Reset removes all faults and counts.
func (f *Faults) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan, f.total, f.counts = nil, 0, nil
}

// Calls returns the number of calls of a method, or of all methods for an empty name.
func (f *Faults) Calls(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if method == "" {
		return f.total
	}
	return f.counts[method]
}

// take counts a call and returns the faults that apply to it, combined into one.
func (f *Faults) take(method string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = make(map[string]int)
	}
	f.total++
	f.counts[method]++
	var all Fault
	for _, fault := range f.plan {
		n := f.total
		if fault.Method != "" {
			if fault.Method != method {
				continue
			}
			n = f.counts[method]
		}
		if fault.N != 0 && fault.N != n {
			continue
		}
		all.Delay += fault.Delay
		if fault.Err != nil {
			all.Err, all.After = fault.Err, fault.After
		}
		if fault.Panic != nil {
			all.Panic = fault.Panic
		}
	}
	return all
}

// before counts a call and applies its fault. It returns the error that replaces the call, or a fault whose error
// follows the call.
func (f *Faults) before(method string) (Fault, error) {
	fault := f.take(method)
	if fault.Delay > 0 {
		time.Sleep(fault.Delay)
	}
	if fault.Panic != nil {
		panic(fault.Panic)
	}
	if fault.After {
		return fault, nil
	}
	return fault, fault.Err
}

// do makes a call that only returns an error.
func (f *Faults) do(method string, call func() error) error {
	fault, err := f.before(method)
	if err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	return fault.Err
}

// doValue makes a call that returns a value and an error.
func doValue[V any](f *Faults, method string, call func() (V, error)) (V, error) {
	var value V
	err := f.do(method, func() (err error) {
		value, err = call()
		return err
	})
	if err != nil {
		var none V
		return none, err
	}
	return value, nil
}

// Wrap returns a layer that forwards its calls unless a fault applies. It is a Batcher or a Scanner exactly if the
// wrapped layer is. Active and Close are forwarded and not counted.
func (f *Faults) Wrap(layer storage.EmbeddedLayer) storage.EmbeddedLayer {
	base := faulty{layer, f}
	batcher, isBatcher := storage.As[storage.Batcher](layer)
	scanner, isScanner := storage.As[storage.Scanner](layer)
	switch {
	case isBatcher && isScanner:
		return &struct {
			faulty
			faultyBatcher
			faultyScanner
		}{base, faultyBatcher{batcher, f}, faultyScanner{scanner, f}}
	case isBatcher:
		return &struct {
			faulty
			faultyBatcher
		}{base, faultyBatcher{batcher, f}}
	case isScanner:
		return &struct {
			faulty
			faultyScanner
		}{base, faultyScanner{scanner, f}}
	}
	return &base
}

// faulty is the required part of a wrapped layer.
type faulty struct {
	layer  storage.EmbeddedLayer
	faults *Faults
}

func (l *faulty) Active() bool { return l.layer.Active() }
func (l *faulty) Close()       { l.layer.Close() }

// Start closes the layer again if the error comes after the call, because a failed Start must hold nothing.
func (l *faulty) Start(opt storage.LayerOptions) error {
	fault, err := l.faults.before("Start")
	if err != nil {
		return err
	}
	if err := l.layer.Start(opt); err != nil {
		return err
	}
	if fault.Err != nil {
		l.layer.Close()
	}
	return fault.Err
}

func (l *faulty) Get(path string) (meta.Object, error) {
	return doValue(l.faults, "Get", func() (meta.Object, error) { return l.layer.Get(path) })
}

func (l *faulty) GetList(pattern string) ([]meta.Object, error) {
	return doValue(l.faults, "GetList", func() ([]meta.Object, error) { return l.layer.GetList(pattern) })
}

func (l *faulty) Set(path string, obj *meta.Object) error {
	return l.faults.do("Set", func() error { return l.layer.Set(path, obj) })
}

func (l *faulty) Del(path string) error {
	return l.faults.do("Del", func() error { return l.layer.Del(path) })
}

func (l *faulty) Keys() ([]string, error) {
	return doValue(l.faults, "Keys", l.layer.Keys)
}

func (l *faulty) Clear() {
	// Clear returns no error, so only a delay or a panic can apply.
	_, _ = l.faults.before("Clear")
	l.layer.Clear()
}

func (l *faulty) Load() (map[string]*meta.Object, error) {
	return doValue(l.faults, "Load", l.layer.Load)
}

// faultyBatcher is the Batcher of a wrapped layer.
type faultyBatcher struct {
	batcher storage.Batcher
	faults  *Faults
}

func (b *faultyBatcher) Commit(changes []storage.Change) error {
	fault, err := b.faults.before("Commit")
	if err == nil {
		if err = b.batcher.Commit(changes); err != nil {
			return err
		}
		err = fault.Err
	}
	var refused *storage.EntryError
	if errors.As(err, &refused) && refused.Index >= len(changes) {
		return &storage.EntryError{Index: len(changes) - 1, Err: refused.Err}
	}
	return err
}

func (b *faultyBatcher) LastRevision() (uint64, error) {
	return doValue(b.faults, "LastRevision", b.batcher.LastRevision)
}

// faultyScanner is the Scanner of a wrapped layer.
type faultyScanner struct {
	scanner storage.Scanner
	faults  *Faults
}

// Scan ends with an injected error, at once or after all objects.
func (s *faultyScanner) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		fault, err := s.faults.before("Scan")
		if err != nil {
			yield(meta.Object{}, err)
			return
		}
		for obj, err := range s.scanner.Scan(pattern) {
			if !yield(obj, err) {
				return
			}
		}
		if fault.Err != nil {
			yield(meta.Object{}, fault.Err)
		}
	}
}
