package storage

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// An error, or a panic, of the layer in the middle of a state is the subscriber's, once; then it begins
// anew. A state that came in part is never called complete.
func TestStateThatCannotBeRead(t *testing.T) {
	faults := map[string]func() error{
		"error": func() error { return errors.New("disk gone") },
		"panic": func() error { panic("disk gone") },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				layer := newStreamAsync()
				// Before the start: the search for expired objects scans too, and from then on.
				var broken atomic.Bool
				layer.scanned = func(path string) error {
					if path == "k/2" && broken.Load() {
						return fault()
					}
					return nil
				}
				s := start(t, LayeredConfig{Embedded: layer}, Options{})
				writeKeys1(t, s, 4)
				broken.Store(true)
				sub := subscribe(t, s, "k/*", SubscribeOptions{})
				set(t, s, "k/1", "2")
				for round := range 2 {
					notices, err := restOf(t, sub)
					want := []string{"state k/0 1", "state k/1 1"}
					if round == 1 {
						want = []string{"reset", "state k/0 1", "state k/1 2"}
					}
					if got := noticeTexts(notices); !slices.Equal(got, want) || err == nil || !strings.Contains(err.Error(), "disk gone") {
						t.Errorf("told %q, then %v, want %q and the error of the layer", got, err, want)
					}
				}
				if got := sub.Revision(); got != 0 {
					t.Errorf("Revision is %d, and no state was complete", got)
				}
				broken.Store(false)
				set(t, s, "k/0", "3")
				wantTold(t, sub, "reset", "state k/0 3", "state k/1 2", "state k/2 1", "state k/3 1", "live")
				set(t, s, "k/3", "4")
				wantTold(t, sub, "set k/3 4")
				if got := layer.scans(); got != 0 {
					t.Errorf("%d scans are left", got)
				}
			})
		})
	}
}

// writeKeys1 sets keys k/0 and on to 1.
func writeKeys1(t *testing.T, s *Layered, n int) {
	t.Helper()
	for i := range n {
		set(t, s, numbered(i), "1")
	}
}

// An error or a panic of the layer where the state begins is the caller's of Subscribe, and of a Next
// that begins anew. Writers notice nothing.
func TestStateThatCannotBegin(t *testing.T) {
	for _, fault := range []string{"error", "panic"} {
		for _, method := range []string{"Scan", "GetList", "Load"} {
			t.Run(fault+" of "+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					stream, plain := newStreamAsync(), newFake()
					var layer EmbeddedLayer = plain
					pattern := "k/*"
					switch method {
					case "Scan":
						layer = stream
					case "Load":
						pattern = ""
					}
					var broken atomic.Bool
					before := func(m, _ string) error {
						if m == method && broken.Load() {
							if fault == "panic" {
								panic("disk gone")
							}
							return errors.New("disk gone")
						}
						return nil
					}
					stream.before, plain.before = before, before
					s := start(t, LayeredConfig{Embedded: layer}, Options{})
					writeKeys1(t, s, 3)
					sub := subscribe(t, s, pattern, SubscribeOptions{Buffer: 1})
					toldNow(t, sub)
					writeKeys(t, s, 0, 3)
					broken.Store(true)
					if _, err := s.Subscribe(t.Context(), pattern, SubscribeOptions{}); err == nil || !strings.Contains(err.Error(), "disk gone") {
						t.Errorf("Subscribe returns %v", err)
					}
					for range 2 {
						if n, err := sub.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "disk gone") {
							t.Errorf("Next returns %s, %v", noticeText(n), err)
						}
					}
					set(t, s, "k/1", "7")
					broken.Store(false)
					wantTold(t, sub, "reset", "state k/0 0", "state k/1 7", "state k/2 2", "live")
					if got := s.Stats().Subscriptions; got != 1 {
						t.Errorf("%d subscriptions, want 1", got)
					}
				})
			})
		}
	}
}
