package storage

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// readOnlyFake is a layer that is opened to read only, and to which nobody may write.
type readOnlyFake struct{ *fakeBatcher }

func (readOnlyFake) ReadOnly() bool { return true }

func newReadOnlyFake(t *testing.T) readOnlyFake {
	layer := readOnlyFake{newFakeBatcher()}
	for path, created := range map[string]int64{"list/1": 1, "list/2": 2, "soon": 3} {
		layer.objects[path] = meta.Object{Path: path, Created: created, Data: []byte("1")}
	}
	layer.before = func(method, key string) error {
		switch method {
		case "Set", "Del", "Clear", "Commit":
			t.Errorf("the store calls %s of %q", method, key)
		}
		return nil
	}
	return layer
}

// Every write to a store that is open to read only is ErrReadOnly and reaches no layer; reads, locks and
// watchers go on.
func TestReadOnlyRefusesWrites(t *testing.T) {
	one := json.RawMessage("1")
	for _, write := range []struct {
		name string
		call func(s *Layered) error
	}{
		{"Set", func(s *Layered) error { _, err := s.Set("a", one); return err }},
		{"Push", func(s *Layered) error { _, err := s.Push("a/*", one); return err }},
		{"SetWithMeta", func(s *Layered) error { _, err := s.SetWithMeta("a", one, 1, 2); return err }},
		{"SetWith", func(s *Layered) error { _, err := s.SetWith("a", one, SetOptions{}); return err }},
		{"PushWith", func(s *Layered) error { _, err := s.PushWith("a/*", one, SetOptions{}); return err }},
		{"Update", func(s *Layered) error {
			_, err := s.Update("list/1", func(meta.Object) (json.RawMessage, error) { return one, nil })
			return err
		}},
		{"SetAndUnlock", func(s *Layered) error {
			if err := s.Lock("a"); err != nil {
				return err
			}
			_, err := s.SetAndUnlock("a", one)
			if !s.TryLock("a") {
				t.Error("SetAndUnlock keeps the lock")
			}
			return err
		}},
		{"Del", func(s *Layered) error { return s.Del("list/1") }},
		{"Del of a glob", func(s *Layered) error { return s.Del("list/*") }},
		{"Del of a glob that matches nothing", func(s *Layered) error { return s.Del("none/*") }},
		{"DelSilent", func(s *Layered) error { return s.DelSilent("list/1") }},
		{"DelWith", func(s *Layered) error { return s.DelWith("list/1", DelOptions{}) }},
		{"Truncate", func(s *Layered) error { return s.Truncate() }},
		{"Commit", func(s *Layered) error {
			batch := new(Batch)
			batch.Set("a", one)
			_, err := s.Commit(batch)
			return err
		}},
	} {
		t.Run(write.name, func(t *testing.T) {
			for _, config := range []LayeredConfig{
				{Memory: NewMemoryLayer(), Embedded: newReadOnlyFake(t)},
				{Embedded: newReadOnlyFake(t)},
				{Memory: NewMemoryLayer(), MemoryOptions: LayerOptions{SkipLoadMemory: true}, Embedded: newReadOnlyFake(t)},
			} {
				s := New(config)
				if err := s.Start(Options{}); err != nil {
					t.Fatal(err)
				}
				if err := write.call(s); !errors.Is(err, ErrReadOnly) {
					t.Errorf("the error is %v, want ErrReadOnly", err)
				}
				s.Clear()
				if keys, err := s.Keys(); err != nil || len(keys) != 3 {
					t.Errorf("afterwards the keys are %q, %v", keys, err)
				}
				sub, err := s.Subscribe(context.Background(), "list/*", SubscribeOptions{})
				if err != nil {
					t.Error(err)
				} else {
					if n, err := sub.Next(context.Background()); err != nil || n.Kind != NoticeState {
						t.Errorf("a subscription begins with %v, %v", n, err)
					}
					sub.Close()
				}
				s.Close()
			}
		})
	}
}

// What a store would do by itself it leaves undone over a layer that is opened to read only: what expires is
// hidden and stays, and a list may be longer than its rule says.
func TestReadOnlyRemovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newReadOnlyFake(t)
		soon := layer.objects["soon"]
		soon.Expires = time.Now().Add(time.Minute).UnixNano()
		layer.objects["soon"] = soon
		s := New(LayeredConfig{Memory: NewMemoryLayer(), Embedded: layer})
		if err := s.Start(Options{Retention: []Retention{{Pattern: "list/*", Count: 1}}}); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		expect(t, s, "soon", "")
		if list, err := s.GetList("list/*"); err != nil || len(list) != 2 {
			t.Errorf("the list is %v, %v", list, err)
		}
		if len(layer.objects) != 3 {
			t.Errorf("the layer holds %v", layer.objects)
		}
	})
}
