package storage

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// A revision that was told, be it of a call that changed nothing, is not given out again by the next process.
func TestRevisionsGoOnBehindARestart(t *testing.T) {
	calls := map[string]func(s *Layered) error{
		"Set":                      func(s *Layered) error { _, err := s.Set("a/1", []byte("2")); return err },
		"Push":                     func(s *Layered) error { _, err := s.Push("a/*", []byte("2")); return err },
		"Del":                      func(s *Layered) error { return s.Del("a/1") },
		"Del of nothing":           missing,
		"Del of a glob":            func(s *Layered) error { return s.Del("a/*") },
		"Del of a glob of nothing": func(s *Layered) error { return s.Del("none/*") },
		"DelSilent of a glob":      func(s *Layered) error { return s.DelSilent("none/*") },
		"Clear":                    func(s *Layered) error { return s.Truncate() },
		"Clear of nothing":         func(s *Layered) error { return errors.Join(s.Truncate(), s.Truncate()) },
		"a conflict":               conflicting,
		"an empty batch":           func(s *Layered) error { _, err := s.Commit(&Batch{}); return err },
		"a batch":                  func(s *Layered) error { b, _ := numberedBatch(3); _, err := s.Commit(&b); return err },
		"a time to live": func(s *Layered) error {
			_, err := s.SetWith("a/1", []byte("2"), SetOptions{TTL: time.Hour})
			return err
		},
		"a subscription": func(s *Layered) error {
			sub, err := s.Subscribe(t.Context(), "", SubscribeOptions{})
			sub.Close()
			return err
		},
		"a list that is cut to size": pushingTwice,
	}
	options := Options{Retention: []Retention{{Pattern: "l/*", Count: 1}}}
	configs := map[string]func(EmbeddedLayer) LayeredConfig{
		"memory": func(l EmbeddedLayer) LayeredConfig { return LayeredConfig{Memory: NewMemoryLayer(), Embedded: l} },
		"cache": func(l EmbeddedLayer) LayeredConfig {
			return LayeredConfig{Memory: NewMemoryLayer(), MemoryOptions: LayerOptions{SkipLoadMemory: true}, Embedded: l}
		},
		"alone": func(l EmbeddedLayer) LayeredConfig { return LayeredConfig{Embedded: l} },
	}
	for name, call := range calls {
		for kind, config := range configs {
			t.Run(fmt.Sprintf("%s, %s", name, kind), func(t *testing.T) {
				layer := newFakeBatcher()
				first := start(t, config(layer), options)
				set(t, first, "a/1", "1")
				must(t, call(first))
				told := first.Stats().Revision
				first.Close()
				next := start(t, config(layer), options)
				if got := next.Stats().Revision; got != told {
					t.Errorf("the store was at revision %d, and is at %d behind a restart", told, got)
				}
			})
		}
	}
}

func missing(s *Layered) error { return expected(s.Del("none"), ErrNotFound) }

func conflicting(s *Layered) error {
	_, err := s.SetWith("a/1", []byte("2"), SetOptions{IfAbsent: true})
	return expected(err, ErrConflict)
}

func pushingTwice(s *Layered) error {
	_, first := s.Push("l/*", []byte("1"))
	_, second := s.Push("l/*", []byte("2"))
	return errors.Join(first, second)
}

func expected(err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("got %v, want %w", err, want)
	}
	return nil
}
