package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// streamLayer is a fakeBatcher that streams, from a snapshot that it takes when a loop begins.
type streamLayer struct {
	*fakeBatcher
	// scanned runs before each object of a scan, holding no lock; its error ends the scan.
	scanned func(path string) error

	// open counts the scans that have begun and not ended. Guarded by fakeLayer.mu.
	open int
}

func newStreamLayer() *streamLayer { return &streamLayer{fakeBatcher: newFakeBatcher()} }

func (f *streamLayer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		var found []meta.Object
		err := f.call("Scan", pattern, func() error {
			for path, obj := range f.objects {
				if pattern == "" || key.Match(pattern, path) {
					found = append(found, placed(obj, path))
				}
			}
			f.open++
			return nil
		})
		if err != nil {
			yield(meta.Object{}, err)
			return
		}
		defer f.scanEnds()
		slices.SortFunc(found, compareByPlace)
		for _, obj := range found {
			if f.scanned != nil {
				err = f.scanned(obj.Path)
			}
			if err == nil && !f.Active() {
				err = ErrNotActive
			}
			if !yield(obj, err) || err != nil {
				return
			}
		}
	}
}

func (f *streamLayer) scanEnds() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
}

// scans is how many scans are under way.
func (f *streamLayer) scans() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

// streamAsync is a streamLayer whose commits are ordered before they are durable.
type streamAsync struct {
	*streamLayer
	sync func() error // what waiting for a commit does; nil for nothing
}

func newStreamAsync() *streamAsync { return &streamAsync{streamLayer: newStreamLayer()} }

func (f *streamAsync) CommitAsync(changes []Change) (wait func() error, err error) {
	if err := f.Commit(changes); err != nil {
		return nil, err
	}
	return func() error {
		if f.sync != nil {
			return f.sync()
		}
		return nil
	}, nil
}

// storeKind is a way to put a store together.
type storeKind struct {
	name    string
	open    func() LayeredConfig
	batches bool // it takes batches
	streams bool // its states are scans of the layer
}

// storeKinds are the ways to put a store together. Each open makes fresh layers.
var storeKinds = []storeKind{
	{"memory", func() LayeredConfig { return LayeredConfig{Memory: NewMemoryLayer()} }, true, false},
	{"memory and plain", func() LayeredConfig {
		return LayeredConfig{Memory: NewMemoryLayer(), Embedded: newFake()}
	}, false, false},
	{"memory and batcher", func() LayeredConfig {
		return LayeredConfig{Memory: NewMemoryLayer(), Embedded: newFakeBatcher()}
	}, true, false},
	{"memory and async batcher", func() LayeredConfig {
		return LayeredConfig{Memory: NewMemoryLayer(), Embedded: newStreamAsync()}
	}, true, false},
	{"cache of a scanner", func() LayeredConfig {
		return LayeredConfig{
			Memory: NewMemoryLayer(), MemoryOptions: LayerOptions{SkipLoadMemory: true}, Embedded: newStreamAsync(),
		}
	}, true, true},
	{"cache of plain", func() LayeredConfig {
		return LayeredConfig{
			Memory: NewMemoryLayer(), MemoryOptions: LayerOptions{SkipLoadMemory: true}, Embedded: newFake(),
		}
	}, false, true},
	{"scanner alone", func() LayeredConfig { return LayeredConfig{Embedded: newStreamAsync()} }, true, true},
	{"batcher alone", func() LayeredConfig { return LayeredConfig{Embedded: newFakeBatcher()} }, true, true},
	{"plain alone", func() LayeredConfig { return LayeredConfig{Embedded: newFake()} }, false, true},
}

// forEachKind runs a test on a store of each kind, in a bubble of synctest, whose end is the
// proof that no goroutine is left. The test's end closes the store, if the test did not.
func forEachKind(t *testing.T, options Options, test func(t *testing.T, s *Layered, kind storeKind)) {
	t.Helper()
	for _, kind := range storeKinds {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(kind.open(), options)
				must(t, s.Start(Options{}))
				test(t, s, kind)
				s.Close()
			})
		})
	}
}

// memoryBubble runs a test on a store in memory.
func memoryBubble(t *testing.T, options Options, test func(t *testing.T, s *Layered)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := openMemory(t, options)
		test(t, s)
		s.Close()
	})
}

// subscribe follows a pattern until the end of the test.
func subscribe(t testing.TB, s *Layered, pattern string, opt SubscribeOptions) *Subscription {
	t.Helper()
	sub, err := s.Subscribe(t.Context(), pattern, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	return sub
}

// nextNotice returns the next notice as text; it must be there. It needs a bubble.
func nextNotice(t testing.TB, sub *Subscription) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
	defer cancel()
	n, err := sub.Next(ctx)
	if err != nil {
		t.Fatalf("no notice: %v", err)
	}
	return noticeText(n)
}

// restOf returns what a subscription tells until there is nothing more at the moment, or it ends with an
// error. It needs a bubble: it waits until all that was written is handed on, so that what is superseded
// does not depend on luck, and then for a moment of the bubble's time.
func restOf(t testing.TB, sub *Subscription) (notices []Notice, end error) {
	t.Helper()
	synctest.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
	defer cancel()
	for {
		n, err := sub.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return notices, nil
		}
		if err != nil {
			return notices, err
		}
		notices = append(notices, n)
	}
}

// toldNow is restOf as text, of a subscription that goes on.
func toldNow(t testing.TB, sub *Subscription) []string {
	t.Helper()
	notices, err := restOf(t, sub)
	if err != nil {
		t.Errorf("the subscription ended: %v", err)
	}
	return noticeTexts(notices)
}

// noticeText is a notice in short: "state a 1", "live", "set a 2", "del a 2", "reset", with a "+" behind it
// for More.
func noticeText(n Notice) string {
	line := n.Kind.String()
	if n.Object != nil {
		line += " " + n.Path + " " + string(n.Object.Data)
	}
	if n.More {
		line += " +"
	}
	return line
}

// noticeTexts returns notices in short. The objects of a state, which come in no order, are sorted.
func noticeTexts(notices []Notice) []string {
	lines := make([]string, len(notices))
	begin := 0 // of a state
	for i, n := range notices {
		lines[i] = noticeText(n)
		if n.Kind != NoticeState && n.Kind != NoticeUnchanged {
			slices.Sort(lines[begin:i])
			begin = i + 1
		}
	}
	slices.Sort(lines[begin:])
	return lines
}

// wantTold checks what a subscription tells now.
func wantTold(t testing.TB, sub *Subscription, want ...string) {
	t.Helper()
	if got := toldNow(t, sub); !slices.Equal(got, want) {
		t.Errorf("%q tells\n\t%s\nwant\n\t%s", sub.pattern, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// wantEnd checks that a subscription tells something and then ends with an error, for good.
func wantEnd(t testing.TB, sub *Subscription, end error, want ...string) {
	t.Helper()
	notices, err := restOf(t, sub)
	if got := noticeTexts(notices); !slices.Equal(got, want) {
		t.Errorf("%q tells %q, want %q", sub.pattern, got, want)
	}
	for range 2 {
		if !errors.Is(err, end) {
			t.Errorf("%q ends with %v, want %v", sub.pattern, err, end)
		}
		_, err = sub.Next(t.Context())
	}
}

// batchOf commits sets of paths to a value; a path that begins with "-" is a delete.
func batchOf(t testing.TB, s *Layered, value string, paths ...string) {
	t.Helper()
	var b Batch
	for _, path := range paths {
		if gone, del := strings.CutPrefix(path, "-"); del {
			b.Del(gone)
		} else {
			b.Set(path, []byte(value))
		}
	}
	if _, err := s.Commit(&b); err != nil {
		t.Error(err)
	}
}

// follower applies what a subscription tells and holds it against the rules: that revisions grow, that
// a state is one revision's, that no change is told twice.
type follower struct {
	objects  map[string]uint64 // revisions by path
	fresh    map[string]uint64 // of the state that is being told
	revision uint64
	live     bool
	resets   int
	changes  int
}

// resumed says that a new subscription goes on where the one before ended.
func (f *follower) resumed() { f.fresh, f.live = nil, false }

// take takes a notice in and returns what is wrong with it.
func (f *follower) take(n Notice) error {
	switch n.Kind {
	case NoticeReset:
		f.resets++
		f.fresh, f.live = map[string]uint64{}, false
	case NoticeState:
		if f.live {
			return fmt.Errorf("an object of a state comes behind it: %s", noticeText(n))
		}
		if f.fresh == nil {
			f.fresh = map[string]uint64{}
		}
		if _, twice := f.fresh[n.Path]; twice {
			return fmt.Errorf("%s is in a state twice", n.Path)
		}
		if f.fresh[n.Path] = n.Revision; n.Object.Revision != n.Revision {
			return fmt.Errorf("%s has revision %d, its object %d", noticeText(n), n.Revision, n.Object.Revision)
		}
	case NoticeLive:
		return f.takeLive(n)
	case NoticeSet, NoticeDel:
		return f.takeChange(n)
	default:
		return fmt.Errorf("an unknown notice: %+v", n)
	}
	return nil
}

func (f *follower) takeLive(n Notice) error {
	if f.live || n.Revision < f.revision {
		return fmt.Errorf("NoticeLive at %d after %d (live: %v)", n.Revision, f.revision, f.live)
	}
	for path, revision := range f.fresh {
		if revision > n.Revision {
			return fmt.Errorf("a state of revision %d has %s of revision %d", n.Revision, path, revision)
		}
	}
	switch {
	case f.fresh != nil:
		f.objects = f.fresh
	case f.objects == nil:
		f.objects = map[string]uint64{}
	}
	f.fresh, f.live, f.revision = nil, true, n.Revision
	return nil
}

func (f *follower) takeChange(n Notice) error {
	if f.fresh != nil || f.objects == nil {
		return fmt.Errorf("%s comes within a state", noticeText(n))
	}
	if n.Revision < f.revision || n.Revision == f.revision && n.Kind == NoticeSet {
		return fmt.Errorf("%s has revision %d, after %d", noticeText(n), n.Revision, f.revision)
	}
	f.revision = n.Revision
	f.changes++
	if n.Kind == NoticeDel {
		if _, there := f.objects[n.Path]; !there {
			return fmt.Errorf("%s of a key that is not there", noticeText(n))
		}
		delete(f.objects, n.Path)
		return nil
	}
	if n.Object.Revision != n.Revision {
		return fmt.Errorf("%s has revision %d, its object %d", noticeText(n), n.Revision, n.Object.Revision)
	}
	f.objects[n.Path] = n.Revision
	return nil
}

// wantContent checks that the follower knows what the store holds.
func (f *follower) wantContent(t testing.TB, s *Layered, pattern string) {
	t.Helper()
	keys, err := s.Keys()
	must(t, err)
	n := 0
	for _, path := range keys {
		if pattern != "" && !key.Match(pattern, path) {
			continue
		}
		n++
		obj, err := s.Get(path)
		must(t, err)
		if f.objects[path] != obj.Revision {
			t.Errorf("%q: %s has revision %d in the store, %d with the subscriber", pattern, path, obj.Revision, f.objects[path])
		}
	}
	if n != len(f.objects) {
		t.Errorf("%q: the store holds %d objects, the subscriber knows %d", pattern, n, len(f.objects))
	}
}

// sideBySide runs functions side by side and waits for all.
func sideBySide(functions ...func()) {
	var group sync.WaitGroup
	for _, f := range functions {
		group.Go(f)
	}
	group.Wait()
}
