package storagetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// hoarder is a store whose Watch keeps all that its callback has not taken.
type hoarder struct{ *storage.Layered }

func (h hoarder) Watch(callback storage.EventCallback) (stop func()) {
	var mu sync.Mutex // guards what follows
	var waiting []storage.Event
	taking, stopped := false, false
	take := func() {
		for {
			mu.Lock()
			if len(waiting) == 0 || stopped {
				taking = false
				mu.Unlock()
				return
			}
			event := waiting[0]
			waiting = waiting[1:]
			mu.Unlock()
			func() {
				defer func() { _ = recover() }()
				callback(event)
			}()
		}
	}
	end := h.Layered.Watch(func(e storage.Event) {
		mu.Lock()
		defer mu.Unlock()
		waiting = append(waiting, e)
		if !taking {
			taking = true
			go take()
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		end()
	}
}

// lenient is a store that passes over the patterns that it does not understand.
type lenient struct{ *storage.Layered }

func (l lenient) Start(opt storage.Options) error {
	opt.NoBroadcastKeys = slices.DeleteFunc(slices.Clone(opt.NoBroadcastKeys), func(p string) bool { return key.Check(p) != nil })
	return l.Layered.Start(opt)
}

// TestBrokenLaggards runs the suite on stores that keep too much for a consumer that does not read, or tell
// what they were to hide.
func TestBrokenLaggards(t *testing.T) {
	memory := func() *storage.Layered {
		return storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	}
	for _, broken := range []struct {
		name, want string
		open       func(T) storage.Database
	}{
		{"keeps each delete for a channel", "EVENTS-24", func(T) storage.Database {
			return &brokenEvents{Database: memory(), pass: func(e storage.Event, out *storage.ShardedChan) { out.Send(e) }}
		}},
		{"keeps each event for a Watch", "EVENTS-36", func(T) storage.Database { return hoarder{memory()} }},
		{"takes a pattern that hides nothing", "EVENTS-25", func(T) storage.Database { return lenient{memory()} }},
	} {
		t.Run(broken.name, func(t *testing.T) {
			s := &subject{Options: Options{Patience: 10 * time.Second}, openDatabase: broken.open}
			wantFailures(t, eventClauses, s, broken.want)
		})
	}
}
