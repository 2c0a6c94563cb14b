package storage

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// Over a layer without batches, which makes the deletes of a glob one by one, no read sees half of them,
// nor those that a failure takes back.
func TestReadersAndDeletesOneByOne(t *testing.T) {
	for _, memory := range []*MemoryLayer{nil, NewMemoryLayer()} {
		t.Run(fmt.Sprintf("cache %v", memory != nil), func(t *testing.T) {
			layer := newFake()
			layer.before = func(method, path string) error {
				if method != "Del" || path != "u/b" {
					return nil
				}
				for range 100 { // u/a is gone in the layer: let them see it
					runtime.Gosched()
				}
				return errors.New("not now")
			}
			s := start(t, LayeredConfig{
				Memory: memory, MemoryOptions: LayerOptions{SkipLoadMemory: true}, Embedded: layer,
			}, Options{})
			set(t, s, "u/a", "1")
			set(t, s, "u/b", "1")
			var over atomic.Bool
			var readers sync.WaitGroup
			read := func(one func() bool) {
				readers.Go(func() {
					for !over.Load() {
						if !one() {
							t.Error("a read sees a delete that fails half done")
							return
						}
					}
				})
			}
			read(func() bool { _, err := s.Get("u/a"); return err == nil })
			read(func() bool { list, err := s.GetList("u/*"); return err == nil && len(list) == 2 })
			for range 200 {
				if err := s.Del("u/*"); err == nil {
					t.Error("a delete that failed has no error")
				}
			}
			over.Store(true)
			readers.Wait()
		})
	}
}

// What a failed delete of a glob puts back keeps its own end, and not that of a rule, which may be
// another one after the next Start.
func TestPutBackAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newFake()
		layer.before = func(method, path string) error {
			if method == "Del" && path == "k/2" {
				return errors.New("not now")
			}
			return nil
		}
		s := start(t, LayeredConfig{Memory: NewMemoryLayer(), Embedded: layer}, Options{
			Retention: []Retention{{Pattern: "k/*", Age: time.Hour}},
		})
		set(t, s, "k/0", "1")
		own := setTTL(t, s, "k/1", time.Minute).Expires
		set(t, s, "k/2", "1")
		if err := s.Del("k/*"); err == nil {
			t.Error("a delete that failed has no error")
		}
		layer.mu.Lock()
		defer layer.mu.Unlock()
		for path, want := range map[string]int64{"k/0": 0, "k/1": own, "k/2": 0} {
			if got := layer.objects[path].Expires; got != want {
				t.Errorf("the layer has %s with the end %d, want %d", path, got, want)
			}
		}
	})
}

// countingWrapper replaces a method of the wrapper that it embeds.
type countingWrapper struct {
	*EmbeddedWrapper
	sets int
}

func (w *countingWrapper) Set(path string, obj *meta.Object) error {
	w.sets++
	return w.EmbeddedWrapper.Set(path, obj)
}

// What a type that embeds a wrapper replaces is called, whatever the wrapped layer can do.
func TestEmbeddedWrapperEmbedded(t *testing.T) {
	layer := newFakeBatcher()
	w := &countingWrapper{EmbeddedWrapper: NewEmbeddedWrapper(layer)}
	s := withLayer(t, w)
	set(t, s, "a", "1")
	if w.sets != 1 || len(layer.batches) != 0 {
		t.Errorf("Set was called %d times, and Commit past it %d times", w.sets, len(layer.batches))
	}
	expect(t, s, "a", "1")
	if _, ok := As[Batcher](NewEmbeddedWrapper(layer)); !ok {
		t.Error("the wrapper by itself hides what it wraps")
	}
}

// panickyLayer panics once, when it is started or closed.
type panickyLayer struct {
	*fakeLayer
	start, end bool
}

func (l *panickyLayer) Start(options LayerOptions) error {
	panicOnce(&l.start)
	return l.fakeLayer.Start(options)
}

func (l *panickyLayer) Close() {
	l.fakeLayer.Close()
	panicOnce(&l.end)
}

func panicOnce(now *bool) {
	if *now {
		*now = false
		panic("on purpose")
	}
}

// A layer that panics while it is started or closed leaves a store that can be started again.
func TestStartBehindAPanic(t *testing.T) {
	for _, layer := range []*panickyLayer{
		{fakeLayer: newFake(), start: true},
		{fakeLayer: newFake(), end: true},
	} {
		s := New(LayeredConfig{Memory: NewMemoryLayer(), Embedded: layer})
		logger, logged := logs()
		err := s.Start(Options{Logger: logger})
		s.Close()
		if told := fmt.Sprint(err, logged()); !strings.Contains(told, "panicked") {
			t.Errorf("nobody is told of the panic, but of %s", told)
		}
		must(t, s.Start(Options{}))
		set(t, s, "a", "1")
		expect(t, s, "a", "1")
		s.Close()
	}
}

// carelessScanner tells objects as they are in it.
type carelessScanner struct {
	*fakeLayer
	tells meta.Object
}

func (l *carelessScanner) Scan(string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) { yield(l.tells, nil) }
}

// What a layer tells is checked, and handed out as all objects are.
func TestScanIsChecked(t *testing.T) {
	roomy := append(make([]byte, 0, 64), '1')
	for _, memory := range []*MemoryLayer{nil, NewMemoryLayer()} {
		t.Run(fmt.Sprintf("memory %v", memory != nil), func(t *testing.T) {
			s := start(t, LayeredConfig{
				Memory: memory, Embedded: &carelessScanner{newFake(), meta.Object{Path: "k/1", Data: roomy}},
			}, Options{})
			list, err := s.GetList("k/*")
			if err != nil || len(list) != 1 || list[0].Index != "1" || cap(list[0].Data) != 1 {
				t.Errorf("the list is %+v, %v, want k/1 with its index and no room behind its data", list, err)
			}
			for _, path := range []string{"", "bad key!", "k/*"} {
				bad := New(LayeredConfig{Memory: memory, Embedded: &carelessScanner{newFake(), meta.Object{Path: path, Data: roomy}}})
				s.Close()
				err := bad.Start(Options{})
				if memory == nil && err == nil {
					_, err = bad.GetList("*")
				}
				if !errors.Is(err, ErrInvalidPath) || !strings.Contains(err.Error(), strconv.Quote(path)) {
					t.Errorf("%q in the layer: %v, want ErrInvalidPath with it", path, err)
				}
				bad.Close()
			}
		})
	}
}
