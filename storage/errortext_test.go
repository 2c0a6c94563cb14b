package storage

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// An error has one line, and at most two colons: after the operation and after the package.
func TestErrorTexts(t *testing.T) {
	s := inMemory(t)
	set1 := func(path string) error { _, err := s.Set(path, json.RawMessage("1")); return err }
	must(t, set1("a/b"))
	lease, err := s.Acquire(t.Context(), "lease", time.Hour)
	must(t, err)
	batch := func(add func(b *Batch)) error {
		var b Batch
		add(&b)
		_, err := s.Commit(&b)
		return err
	}
	with := func(path string, opt SetOptions) error {
		_, err := s.SetWith(path, json.RawMessage("1"), opt)
		return err
	}
	page := func(pattern string, opt ListOptions) error {
		_, err := s.Page(pattern, opt)
		return err
	}
	subscribe := func(pattern string, opt SubscribeOptions) error {
		_, err := s.Subscribe(t.Context(), pattern, opt)
		return err
	}
	_, get := s.Get("a b")
	_, push := s.Push("a*/b", json.RawMessage("1"))
	_, long := s.Push(strings.Repeat("x", 1022)+"/*", json.RawMessage("1"))
	_, list := s.GetList("a b/*")
	_, limit := s.GetN("a/*", -1)
	_, update := s.Update("a/b", nil)
	_, touch := s.Touch("a/b", -1)
	_, snapshot := s.Snapshot(t.Context(), "a**")
	_, acquire := s.Acquire(t.Context(), "a", 0)
	watch := s.WatchContext(t.Context(), nil)
	started := func(o Options) error { return New(LayeredConfig{Memory: NewMemoryLayer()}, o).Start(Options{}) }
	for what, err := range map[string]error{
		"get": get, "push": push, "long push": long, "list": list, "limit": limit, "update": update, "touch": touch, "snapshot": snapshot, "acquire": acquire, "watch": watch,
		"set":                set1("a b"),
		"set of a long path": set1(strings.Repeat("x", 2000)),
		"set of no JSON":     func() error { _, err := s.Set("a", json.RawMessage("{")); return err }(),
		"conflict":           with("a/b", SetOptions{IfAbsent: true}),
		"two conditions":     with("a", SetOptions{IfAbsent: true, IfRevision: 1}),
		"negative TTL":       with("a", SetOptions{TTL: -1}),
		"negative end":       with("a", SetOptions{Expires: -1}),
		"two ends":           with("a", SetOptions{TTL: 1, Expires: 1}),
		"kept end":           with("a", SetOptions{TTL: 1, KeepTTL: true}),
		"another store's lease": func() error {
			_, err := inMemory(t).SetWith("a", json.RawMessage("1"), SetOptions{Lease: lease})
			return err
		}(),
		"delete":                  s.Del("none"),
		"delete of a bad path":    s.Del("a//b"),
		"lock":                    s.LockContext(t.Context(), "a/*"),
		"unlock":                  s.Unlock("none"),
		"batch: bad path":         batch(func(b *Batch) { b.Set("a b", json.RawMessage("1")) }),
		"batch: one key twice":    batch(func(b *Batch) { b.Del("a"); b.Del("a") }),
		"batch: absent key":       batch(func(b *Batch) { b.Del("none") }),
		"batch: conflict":         batch(func(b *Batch) { b.SetWith("a/b", json.RawMessage("1"), SetOptions{IfAbsent: true}) }),
		"batch: push with a time": batch(func(b *Batch) { b.PushWith("a/*", json.RawMessage("1"), SetOptions{IfRevision: 1}) }),
		"cursor":                  page("a/*", ListOptions{Cursor: "x"}),
		"cursor and offset":       page("a/*", ListOptions{Cursor: "x", Offset: 1}),
		"offset":                  page("a/*", ListOptions{Offset: -1}),
		"subscribe":               subscribe("a**", SubscribeOptions{}),
		"subscribe to the future": subscribe("a/*", SubscribeOptions{From: 1 << 40}),
		"subscribe options":       subscribe("a/*", SubscribeOptions{Limit: 1}),
		"subscribe buffer":        subscribe("a/*", SubscribeOptions{Buffer: -1}),
		"start twice":             s.Start(Options{}),
		"retention":               started(Options{Retention: []Retention{{Pattern: "a", Count: 1}}}),
		"retention count":         started(Options{Retention: []Retention{{Pattern: "a/*", Count: -1}}}),
		"no broadcast":            started(Options{NoBroadcastKeys: []string{"a b"}}),
		"a layer's key":           func() error { _, err := checked(meta.Object{}, "a b"); return err }(),
		"writes stopped":          failed("set", "a", (&pipeline{}).stop(fmt.Errorf("persistent layer failed"))),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		text := regexp.MustCompile(`"(\\.|[^"\\])*"`).ReplaceAllString(err.Error(), "Q")
		if strings.Count(text, ": ") > 2 || strings.Contains(text, "\n") {
			t.Errorf("%s: %q has more than two colons or lines", what, err)
		}
	}
}
