package storage

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// No call panics for a zero value, a nil context or a nil function: it returns an error that says so, or does
// nothing.
func TestZeroValues(t *testing.T) {
	var none context.Context
	s := inMemory(t)
	set(t, s, "a", "1")
	sub := subscribe(t, s, "", SubscribeOptions{})
	sequence := func(each func(func(Notice, error) bool)) (last error) {
		each(func(_ Notice, err error) bool { last = err; return err == nil })
		return last
	}
	objects := func(each func(func(meta.Object, error) bool)) (last error) {
		each(func(_ meta.Object, err error) bool { last = err; return err == nil })
		return last
	}
	update := func(s *Layered) error { _, err := s.Update("a", nil); return err }
	calls := map[string]struct {
		call func() error
		want error
	}{
		"Next of a Subscription":      {func() error { _, err := new(Subscription).Next(t.Context()); return err }, ErrSubscriptionClosed},
		"All of a Subscription":       {func() error { return sequence(new(Subscription).All(t.Context())) }, ErrSubscriptionClosed},
		"All of a Snapshot":           {func() error { return objects(new(Snapshot).All()) }, ErrSnapshotClosed},
		"Renew of a Lease":            {func() error { return new(Lease).Renew(time.Second) }, ErrLeaseLost},
		"Release of a Lease":          {func() error { return new(Lease).Release() }, ErrLeaseLost},
		"Start of a Layered":          {func() error { return new(Layered).Start(Options{}) }, ErrAllLayersNil},
		"Start of an EmbeddedWrapper": {func() error { return new(EmbeddedWrapper).Start(LayerOptions{}) }, ErrAllLayersNil},
		"Set of a MemoryLayer":        {func() error { return new(MemoryLayer).Set("a", &meta.Object{Data: []byte("1")}) }, ErrNotActive},
		"Update of a closed store":    {func() error { return update(new(Layered)) }, ErrNotActive},

		"Subscribe without a context":   {func() error { _, err := s.Subscribe(none, "", SubscribeOptions{}); return err }, ErrInvalidOptions},
		"Snapshot without a context":    {func() error { _, err := s.Snapshot(none, ""); return err }, ErrInvalidOptions},
		"Acquire without a context":     {func() error { _, err := s.Acquire(none, "a", time.Second); return err }, ErrInvalidOptions},
		"LockContext without a context": {func() error { return s.LockContext(none, "a") }, ErrInvalidOptions},
		"Next without a context":        {func() error { _, err := sub.Next(none); return err }, ErrInvalidOptions},
		"All without a context":         {func() error { return sequence(sub.All(none)) }, ErrInvalidOptions},
		"Update without a function":     {func() error { return update(s) }, ErrInvalidOptions},
	}
	for name, c := range calls {
		if err := c.call(); !errors.Is(err, c.want) {
			t.Errorf("%s = %v, want %v", name, err, c.want)
		}
	}

	var channels ShardedChan
	channels.Send(Event{Key: "a"})
	if channels.Count() != 0 || channels.Shard(0) != nil || channels.ShardFor("a") != 0 || channels.Stats() != (ShardedStats{}) {
		t.Error("a zero ShardedChan has a channel")
	}
	channels.Close()
	channels.Close()
	var lease Lease
	if <-lease.Done(); !lease.Expires().IsZero() || lease.Path() != "" || lease.Token() != 0 {
		t.Error("a zero Lease has a lock")
	}
	var subscription Subscription
	if subscription.Lag() != 0 || subscription.Revision() != 0 {
		t.Error("a zero Subscription has something to tell")
	}
	subscription.Close()
	var snapshot Snapshot
	if snapshot.Revision() != 0 {
		t.Error("a zero Snapshot has a revision")
	}
	snapshot.Close()
	s.Watch(nil)()
	WatchWithCallback(s, nil)
	WatchWithCallback(nil, func(Event) {})
	WatchStorageNoop(nil)
	receive(&channels, func(Event) {})
	if objects, err := s.Commit(nil); err != nil || objects != nil {
		t.Errorf("Commit of no batch = %v, %v", objects, err)
	}
	if _, err := s.Set("a", json.RawMessage("2")); err != nil {
		t.Errorf("then Set = %v", err)
	}
}

// A batch that is copied by value is two batches.
func TestCopiedBatch(t *testing.T) {
	paths := func(b *Batch) (paths string) {
		for _, w := range b.parts {
			paths += w.path + " "
		}
		return strings.TrimSpace(paths)
	}
	for n := range 20 { // with room behind the last change and without
		var first Batch
		common := ""
		for range n {
			first.Del("c")
			common += "c "
		}
		second := first
		first.Set("a", []byte("1"))
		second.Set("b", []byte("2"))
		third := second
		third.Set("d", []byte("3"))
		second.Set("e", []byte("4"))
		first.Set("f", []byte("5"))
		for b, want := range map[*Batch]string{&first: "a f", &second: "b e", &third: "b d"} {
			if got := paths(b); got != common+want {
				t.Errorf("%d changes and then %q are %q", n, want, got)
			}
		}
	}
}

// A store that is not active has as many channels as one that is.
func TestShardsOfAStoreThatIsNotActive(t *testing.T) {
	for workers, want := range map[int]int{0: 6, -1: 6, 4: 4} {
		s := New(LayeredConfig{Memory: NewMemoryLayer()}, Options{Workers: workers})
		if got := s.WatchSharded().Count(); got != want {
			t.Errorf("%d workers: %d channels before Start, want %d", workers, got, want)
		}
		if got := NewShardedChan(workers).Count(); got != want {
			t.Errorf("NewShardedChan(%d) has %d channels, want %d", workers, got, want)
		}
	}
}

// With the last watch its goroutines end, and the log is kept no longer. The next one begins anew.
func TestNothingIsLeftOfTheLastWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		before := runtime.NumGoroutine()
		for round := range 3 {
			var got tape
			stop, other := s.Watch(got.record), s.Watch(func(Event) {})
			set(t, s, "a", "1")
			synctest.Wait()
			other()
			set(t, s, "b", "2")
			synctest.Wait()
			if lines := got.lines(); len(lines) != 2 || lines[1] != "set b 2" {
				t.Errorf("round %d: told %q", round, lines)
			}
			stop()
			// The runtime counts a goroutine for a moment after it has ended.
			eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before })
			if s.run.Load().watched() {
				t.Errorf("round %d: changes are published for nobody", round)
			}
			for range 600 {
				set(t, s, "c", "3")
			}
		}
	})
}
