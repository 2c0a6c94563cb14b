package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// publicCalls are the calls of a store that its layers have a part in.
func publicCalls(s *Layered) map[string]func() error {
	data := json.RawMessage("2")
	all := func(objects func(func(meta.Object, error) bool)) (last error) {
		objects(func(_ meta.Object, err error) bool { last = err; return true })
		return last
	}
	return map[string]func() error{
		"Keys":              func() error { _, err := s.Keys(); return err },
		"KeysRange":         func() error { _, err := s.KeysRange("u/*", 0, 1); return err },
		"Get":               func() error { _, err := s.Get("u/a"); return err },
		"GetAndLock":        func() error { _, err := s.GetAndLock("u/a"); return err },
		"GetList":           func() error { _, err := s.GetList("u/*"); return err },
		"GetListDescending": func() error { _, err := s.GetListDescending("u/*"); return err },
		"GetN":              func() error { _, err := s.GetN("u/*", 1); return err },
		"GetNAscending":     func() error { _, err := s.GetNAscending("u/*", 1); return err },
		"GetNRange":         func() error { _, err := s.GetNRange("u/*", 1, 0, 1); return err },
		"Page":              func() error { _, err := s.Page("u/*", ListOptions{}); return err },
		"Iterate":           func() error { return all(s.Iterate("u/*", ListOptions{})) },
		"Count":             func() error { _, err := s.Count("u/*"); return err },
		"Directories":       func() error { _, err := s.Directories(""); return err },
		"Set":               func() error { _, err := s.Set("u/a", data); return err },
		"SetWithMeta":       func() error { _, err := s.SetWithMeta("u/a", data, 1, 2); return err },
		"Push":              func() error { _, err := s.Push("u/*", data); return err },
		"Push to a limit":   func() error { _, err := s.Push("log/*", data); return err },
		"SetAndUnlock": func() error {
			return errors.Join(s.Lock("u/a"), func() error { _, err := s.SetAndUnlock("u/a", data); return err }())
		},
		"Del":           func() error { return s.Del("u/a") },
		"Del of a glob": func() error { return s.Del("u/*") },
		"DelSilent":     func() error { return s.DelSilent("u/a") },
		"DelWith":       func() error { return s.DelWith("u/a", DelOptions{}) },
		"Clear":         func() error { s.Clear(); return nil },
		"Truncate":      s.Truncate,
		"SetWith":       func() error { _, err := s.SetWith("u/a", data, SetOptions{TTL: time.Hour}); return err },
		"PushWith":      func() error { _, err := s.PushWith("u/*", data, SetOptions{}); return err },
		"Update": func() error {
			_, err := s.Update("u/a", func(meta.Object) (json.RawMessage, error) { return data, nil })
			return err
		},
		"Commit": func() error {
			var b Batch
			b.Set("u/a", data)
			b.Del("u/b")
			_, err := s.Commit(&b)
			return err
		},
		"Snapshot": func() error {
			snapshot, err := s.Snapshot(context.Background(), "")
			if err != nil {
				return err
			}
			defer snapshot.Close()
			return all(snapshot.All())
		},
		"Subscribe": func() error {
			sub, err := s.Subscribe(context.Background(), "", SubscribeOptions{})
			if err != nil {
				return err
			}
			defer sub.Close()
			for {
				if notice, err := sub.Next(context.Background()); err != nil || notice.Kind == NoticeLive {
					return err
				}
			}
		},
		"Close": func() error { s.Close(); return nil },
		"Start": func() error { s.Close(); return s.Start(Options{}) },
	}
}

// No panic of a layer reaches who calls the store. One of a read is the error of that call and of no other; one of a
// change leaves open what the layer has, and stops the writes.
func TestPanicOfALayer(t *testing.T) {
	type fault struct {
		method string
		reads  bool // and changes nothing
	}
	faults := []fault{
		{"Get", true}, {"GetList", true}, {"Scan", true}, {"Keys", true}, {"Load", true}, {"LastRevision", true},
		{"Set", false}, {"Del", false}, {"Clear", false}, {"Commit", false},
	}
	var names []string
	for name := range publicCalls(nil) {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, k := range kinds() {
		if !k.persistent {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			for _, name := range names {
				for _, f := range faults {
					if f.reads && f.method == "Keys" && !k.batches && (name == "Clear" || name == "Truncate") {
						continue // there a look at the keys is a part of the change
					}
					checkPanic(t, k, name, f.method, f.reads)
				}
			}
		})
	}
}

func checkPanic(t *testing.T, k kind, name, method string, reads bool) {
	t.Helper()
	options := Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if k.batches {
		options.Retention = []Retention{{Pattern: "log/*", Count: 1}}
	}
	fake := newFakeBatcher()
	s := New(k.over(fake), options)
	must(t, s.Start(Options{}))
	defer s.Close()
	for _, path := range []string{"u/a", "u/b", "log/1"} {
		set(t, s, path, "1")
	}
	if !k.fromLayer {
		s.Close() // what is in memory then comes from the layer
		must(t, s.Start(Options{}))
	}
	fake.onCall(func(m, _ string) error {
		if m == method {
			panic("broken layer")
		}
		return nil
	})
	what := fmt.Sprintf("%s over a layer whose %s panics", name, method)
	func() {
		defer func() {
			if value := recover(); value != nil {
				t.Errorf("%s: panic: %v", what, value)
			}
		}()
		err := publicCalls(s)[name]()
		if !reads && err != nil && !errors.Is(err, ErrWritesStopped) && !errors.Is(err, ErrBatchUnsupported) {
			t.Errorf("%s: %v, want ErrWritesStopped or nothing", what, err)
		}
	}()
	fake.onCall(nil)
	if !s.Active() {
		must(t, s.Start(Options{}))
	}
	_, err := s.Set("v", []byte("1"))
	if stopped := errors.Is(err, ErrWritesStopped); stopped && reads || err != nil && !stopped {
		t.Errorf("%s, and then Set: %v", what, err)
	}
	if _, err := s.Get("log/1"); err != nil && !errors.Is(err, ErrNotFound) {
		t.Errorf("%s, and then Get: %v", what, err)
	}
}
