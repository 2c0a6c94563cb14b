package storage

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

func TestCatchUpPastTheHistory(t *testing.T) {
	forEachKind(t, Options{History: 3, NoBroadcastKeys: []string{"a/quiet"}}, func(t *testing.T, s *Layered, _ storeKind) {
		set(t, s, "a/1", "0")
		set(t, s, "a/2", "0")
		set(t, s, "a/3", "0")
		set(t, s, "a/silent", "0")
		setTTL(t, s, "a/ends", time.Hour)
		set(t, s, "b", "0")
		sub := subscribe(t, s, "a/*", SubscribeOptions{CatchUp: true})
		toldNow(t, sub)
		from := sub.Revision()
		set(t, s, "a/1", "1")
		must(t, s.Del("a/2"))
		set(t, s, "a/4", "1")
		set(t, s, "a/5", "1")
		set(t, s, "a/quiet", "1")
		must(t, s.Del("a/5"))
		must(t, s.DelSilent("a/silent"))
		set(t, s, "b", "1")
		set(t, s, "b", "2")
		set(t, s, "b", "3")
		late := subscribe(t, s, "a/*", SubscribeOptions{From: from, CatchUp: true})
		if got := late.Revision(); got != from {
			t.Errorf("Revision is %d before what is caught up, want %d", got, from)
		}
		wantTold(t, late, "catch-up", "state a/1 1", "state a/4 1", "unchanged a/3 0", "unchanged a/ends 1", "live")
		if got, want := late.Revision(), s.Revision(); got != want {
			t.Errorf("Revision is %d, want %d", got, want)
		}
		set(t, s, "a/3", "4")
		wantTold(t, late, "set a/3 4")
		resume := func(from uint64, want ...string) {
			t.Helper()
			wantTold(t, subscribe(t, s, "a/*", SubscribeOptions{From: from, CatchUp: true}), want...)
		}
		resume(s.Revision()-1, "set a/3 4", "live") // the history has it
		resume(0, "state a/1 1", "state a/3 4", "state a/4 1", "state a/ends 1", "live")
		time.Sleep(time.Hour) // a/ends is expired, and perhaps not removed
		resume(from, "catch-up", "state a/1 1", "state a/3 4", "state a/4 1", "live")
		if got := s.Stats().SubscriptionResets; got != 0 {
			t.Errorf("Stats tells of %d resets", got)
		}
	})
}

// A subscriber that falls behind catches up from what it was told last.
func TestCatchUpOfOneThatFallsBehind(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, _ storeKind) {
		for i := range 3 {
			set(t, s, fmt.Sprintf("a/%d", i), "0")
		}
		sub := subscribe(t, s, "a/*", SubscribeOptions{CatchUp: true, Buffer: 2})
		wantTold(t, sub, "state a/0 0", "state a/1 0", "state a/2 0", "live")
		set(t, s, "a/0", "1")
		wantTold(t, sub, "set a/0 1")
		from := sub.Revision()
		for range 5 {
			set(t, s, "a/1", "2")
		}
		must(t, s.Del("a/2"))
		synctest.Wait()
		if got := sub.Revision(); got != from {
			t.Errorf("Revision is %d while it is behind, want %d", got, from)
		}
		wantTold(t, sub, "catch-up", "state a/1 2", "unchanged a/0 1", "live")
		set(t, s, "a/3", "3")
		wantTold(t, sub, "set a/3 3")
	})
}

// One that resumed, and fell behind before it was told what it had missed, begins anew when the store is closed: what it
// had missed is older than its state.
func TestFallingBehindWhileResumingAndClose(t *testing.T) {
	forEachKind(t, Options{}, func(t *testing.T, s *Layered, kind storeKind) {
		if kind.streams {
			return // the state is read while Close waits
		}
		subscribe(t, s, "none", SubscribeOptions{})
		set(t, s, "a/1", "0")
		set(t, s, "a/2", "0")
		from := s.Revision()
		set(t, s, "a/1", "1")
		plain := subscribe(t, s, "a/*", SubscribeOptions{From: from, Buffer: 1})
		catching := subscribe(t, s, "a/*", SubscribeOptions{From: from, Buffer: 1, CatchUp: true})
		for range 3 {
			set(t, s, "a/1", "2")
		}
		synctest.Wait()
		s.Close()
		wantEnd(t, plain, ErrNotActive, "reset", "state a/1 2", "state a/2 0", "live")
		wantEnd(t, catching, ErrNotActive, "catch-up", "state a/1 2", "unchanged a/2 0", "live")
	})
}

// A layer that fails while the state is read makes it begin anew from the same revision.
func TestCatchUpOverAnErrorOfTheLayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newStreamLayer()
		s := start(t, LayeredConfig{Embedded: layer}, Options{History: 1})
		for i := range 4 {
			set(t, s, fmt.Sprintf("a/%d", i), "0")
		}
		subscribe(t, s, "none", SubscribeOptions{})
		from := s.Revision()
		for range 3 {
			set(t, s, "a/1", "1")
		}
		broken := errors.New("a bad sector")
		layer.scanned = func(path string) error {
			if path == "a/2" {
				return broken
			}
			return nil
		}
		for _, order := range []StateOrder{OrderNone, OrderOldest} {
			sub := subscribe(t, s, "a/*", SubscribeOptions{From: from, CatchUp: true, Order: order})
			for range 2 {
				if _, err := restOf(t, sub); !errors.Is(err, broken) {
					t.Errorf("the error is %v", err)
				}
				if got := sub.Revision(); got != from {
					t.Errorf("Revision is %d, want %d", got, from)
				}
			}
			fails := layer.scanned
			layer.scanned = nil
			wantTold(t, sub, "catch-up", "state a/1 1", "unchanged a/0 0", "unchanged a/2 0", "unchanged a/3 0", "live")
			layer.scanned = fails
			sub.Close()
		}
		layer.scanned = nil
		s.Close()
	})
}

// What the layer has no revision of is told as changed, whatever number it is given.
func TestCatchUpOnObjectsWithoutRevision(t *testing.T) {
	each(t, Options{Logger: quiet, History: 1}, func(k kind) bool { return k.persistent }, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		from := s.Revision()
		s.Close()
		unrevised(fake)
		must(t, s.Start(Options{}))
		from = max(from, 7)
		for range 2 {
			sub := subscribe(t, s, "*/*", SubscribeOptions{From: from, CatchUp: true})
			kinds := map[string]NoticeKind{}
			for n, err := range sub.All(t.Context()) {
				must(t, err)
				if kinds[n.Path] = n.Kind; n.Kind == NoticeLive {
					break
				}
			}
			want := map[string]NoticeKind{"": NoticeLive, "d/e": NoticeUnchanged}
			for _, path := range []string{"d/b", "d/c", "d/d", "e/a"} {
				want[path] = NoticeState
			}
			if !maps.Equal(kinds, want) {
				t.Errorf("from %d it tells %v, want %v", from, kinds, want)
			}
			if k.fromLayer {
				from = s.Revision() // what is in the layer has no revision yet, however often it is read
				subscribe(t, s, "none", SubscribeOptions{})
				set(t, s, "other", "1")
				set(t, s, "other", "2")
			}
		}
	})
}

// replica is what the docstring of CatchUp says that a client is to keep.
type replica struct {
	pattern string
	objects map[string]*meta.Object
	named   map[string]bool // since NoticeCatchUp; nil when there was none since the last NoticeLive
	live    bool
	// revision is that of the subscription, to resume from, and seen the highest of a notice.
	revision, seen            uint64
	resets, caughtUp, changed int
}

// take takes a notice in and returns what is wrong with it.
func (m *replica) take(n Notice) error {
	if wantsObject := n.Kind == NoticeState || n.Kind == NoticeSet || n.Kind == NoticeDel || n.Kind == NoticeUnchanged; wantsObject != (n.Object != nil) {
		return fmt.Errorf("%+v has an object, or has none", n)
	}
	switch n.Kind {
	case NoticeReset:
		if m.revision != 0 { // else it has no whole state to catch up from
			m.resets++
		}
		m.objects, m.named, m.live = map[string]*meta.Object{}, nil, false
	case NoticeCatchUp:
		m.caughtUp++
		m.named, m.live = map[string]bool{}, false
	case NoticeState, NoticeUnchanged:
		if m.live {
			return fmt.Errorf("%s comes behind NoticeLive", noticeText(n))
		}
		held := m.objects[n.Path]
		if n.Kind == NoticeUnchanged && (held == nil || held.Revision != n.Revision || m.named == nil) {
			return fmt.Errorf("%s, of revision %d, is held as %+v", noticeText(n), n.Revision, held)
		}
		if m.named != nil {
			if m.named[n.Path] {
				return fmt.Errorf("%s is named twice", n.Path)
			}
			m.named[n.Path] = true
		}
		m.objects[n.Path] = n.Object
	case NoticeLive:
		if m.named != nil {
			maps.DeleteFunc(m.objects, func(path string, _ *meta.Object) bool { return !m.named[path] })
		}
		m.named, m.live = nil, true
	case NoticeSet:
		m.changed++
		m.objects[n.Path] = n.Object
	case NoticeDel:
		m.changed++
		// What a state left out, since it was expired, may be removed behind the revision that one resumes from. Who left in
		// the middle of a change is told all of it again.
		if m.objects[n.Path] == nil && n.Object.Expires == 0 && n.Revision > m.seen {
			return fmt.Errorf("%s is not held", noticeText(n))
		}
		delete(m.objects, n.Path)
	}
	m.seen = max(m.seen, n.Revision)
	return nil
}

// follow takes in some of what is told, or all that there is now.
func (m *replica) follow(t *testing.T, sub *Subscription, some int) {
	t.Helper()
	synctest.Wait()
	for i := 0; some < 0 || i < some; i++ {
		n, ok, err := sub.take()
		if errors.Is(err, ErrNotActive) || !ok && err == nil {
			break
		}
		must(t, err)
		if err := m.take(n); err != nil {
			t.Fatalf("%q: %v", m.pattern, err)
		}
	}
	m.revision = sub.Revision()
}

// wantAll checks that the replica is what the store shows.
func (m *replica) wantAll(t *testing.T, s *Layered) {
	t.Helper()
	keys, err := s.Keys()
	must(t, err)
	n, missing := 0, maps.Clone(m.objects)
	for _, path := range keys {
		delete(missing, path)
		if m.pattern != "" && !key.Match(m.pattern, path) {
			continue
		}
		n++
		obj := object(t, s, path)
		if held := m.objects[path]; held == nil || held.Revision != obj.Revision || string(held.Data) != string(obj.Data) || held.Expires != obj.Expires {
			t.Fatalf("%q: the store has %+v, the replica %+v", m.pattern, obj, held)
		}
	}
	if n != len(m.objects) {
		for path, obj := range missing {
			t.Errorf("%q: %s is in the replica only: %+v", m.pattern, path, obj)
		}
		t.FailNow()
	}
}

// TestMirrorsCatchUp has clients that keep a map of a pattern, with a history and buffers that are too short, over restarts.
func TestMirrorsCatchUp(t *testing.T) {
	for _, kind := range storeKinds {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mirrorsCatchUp(t, kind, testrand.New(t))
			})
		})
	}
}

func mirrorsCatchUp(t *testing.T, kind storeKind, r *rand.Rand) {
	options := Options{History: 5}
	s := New(kind.open(), options)
	must(t, s.Start(Options{}))
	set(t, s, "d", "0") // so that no state is of revision 0
	var mirrors []*replica
	for _, pattern := range []string{"", "a/*", "**", "*/1*", "b/3", "c/**"} {
		mirrors = append(mirrors, &replica{pattern: pattern, objects: map[string]*meta.Object{}})
	}
	restarts := 0
	for range 60 {
		subs := make([]*Subscription, len(mirrors))
		for i, m := range mirrors {
			opt := SubscribeOptions{From: m.revision, CatchUp: true, Order: StateOrder(r.IntN(3)), Buffer: 1 + r.IntN(8)}
			if m.revision == 0 {
				m.objects = map[string]*meta.Object{}
			}
			m.named, m.live = nil, false
			subs[i] = subscribe(t, s, m.pattern, opt)
		}
		for range r.IntN(4) {
			writeAtRandom(t, s, kind, r, 1+r.IntN(15))
			for i, m := range mirrors {
				m.follow(t, subs[i], r.IntN(30))
			}
		}
		if r.IntN(3) == 0 {
			time.Sleep(time.Second) // what can expire does
			_, err := s.Keys()      // a layer that does not stream is not searched for it: reads find it
			must(t, err)
			time.Sleep(time.Millisecond) // and then it is removed
			for i, m := range mirrors {
				m.follow(t, subs[i], -1)
				m.wantAll(t, s)
			}
		}
		if r.IntN(4) == 0 {
			s.Close()
			restarts++
			for i, m := range mirrors {
				m.follow(t, subs[i], r.IntN(30))
			}
			must(t, s.Start(Options{}))
			if kind.name != "memory" {
				writeAtRandom(t, s, kind, r, r.IntN(10))
			}
		} else {
			writeAtRandom(t, s, kind, r, r.IntN(15))
		}
		for _, sub := range subs {
			sub.Close()
		}
	}
	s.Close()
	caughtUp, changed := 0, 0
	for _, m := range mirrors {
		if caughtUp, changed = caughtUp+m.caughtUp, changed+m.changed; m.resets > 0 && kind.name != "memory" {
			t.Errorf("%q was reset %d times", m.pattern, m.resets)
		}
	}
	if caughtUp == 0 || changed == 0 || restarts == 0 {
		t.Errorf("%d caught up, %d changes, %d restarts: too few to tell anything", caughtUp, changed, restarts)
	}
}
