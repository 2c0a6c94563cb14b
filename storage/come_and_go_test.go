package storage

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/key"
)

// A consumer that is stuck costs its limit and the keys that there are, whichever way the others went.
func TestKeysThatComeAndGoCostALaggardNothing(t *testing.T) {
	const keys = 3 * backlogLimit
	each := func(remove func(s *Layered, path string) error) func(s *Layered, i int) error {
		return func(s *Layered, i int) error {
			path := fmt.Sprintf("k/%d", i)
			if _, err := s.Set(path, []byte("1")); err != nil {
				return err
			}
			return remove(s, path)
		}
	}
	// everyHundred removes a hundred keys at once.
	everyHundred := func(remove func(s *Layered) error) func(s *Layered, i int) error {
		return func(s *Layered, i int) error {
			_, err := s.Set(fmt.Sprintf("k/%d", i), []byte("1"))
			if err == nil && i%100 == 99 {
				err = remove(s)
			}
			return err
		}
	}
	ways := map[string]func(s *Layered, i int) error{
		"Del":                 each(func(s *Layered, path string) error { return s.Del(path) }),
		"DelSilent":           each(func(s *Layered, path string) error { return s.DelSilent(path) }),
		"a limit":             func(s *Layered, i int) error { _, err := s.Push("log/*", []byte("1")); return err },
		"Del of a glob":       everyHundred(func(s *Layered) error { return s.Del("k/*") }),
		"DelSilent of a glob": everyHundred(func(s *Layered) error { return s.DelSilent("k/*") }),
		"Truncate":            everyHundred(func(s *Layered) error { return s.Truncate() }),
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, LayeredConfig{Memory: NewMemoryLayer()}, Options{
					Workers: 3, Retention: []Retention{{Pattern: "log/*", Count: 100}},
				})
				release := make(chan struct{})
				t.Cleanup(func() { close(release) })
				s.Watch(func(Event) { <-release })
				s.WatchSharded()
				sub := subscribe(t, s, "", SubscribeOptions{Lag: LagNewest, Buffer: 100})
				for i := range keys {
					must(t, way(s, i))
					if i%1000 == 0 {
						synctest.Wait()
					}
				}
				synctest.Wait()
				s.run.Load().feed.dispatch()
				stats := s.Stats()
				if stats.Lag > backlogLimit+1000 {
					t.Errorf("a Watch has %d events to deliver of %d keys that came and went", stats.Lag, keys)
				}
				// Of each shard.
				if stats.Sharded.Queued > 3*(backlogLimit+300) {
					t.Errorf("channels have %d events to deliver of %d keys that came and went", stats.Sharded.Queued, keys)
				}
				// What was appended before anybody lagged stays: up to a limit of it.
				if n := sub.Lag(); n > 100+feedFold {
					t.Errorf("a subscription has %d changes to tell of %d keys that came and went", n, keys)
				}
			})
		})
	}
}

// A random life of a few keys: whoever lags, and whenever, knows in the end what there is.
func TestBacklogTellsWhatThereIs(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for run := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, run))
		b := backlog{limit: 1 + r.IntN(8)}
		there, told := map[string]bool{}, map[string]bool{}
		silent := map[string]bool{} // what DelSilent removed last: the consumer may know of it, or not
		take := func(n int) {
			for range n {
				c, ok := b.first()
				if !ok {
					return
				}
				e := c.Event
				b.pop()
				switch {
				case e.Operation == OperationClear:
					clear(told)
				case e.Operation == OperationSet:
					told[e.Key] = true
				case key.HasGlob(e.Key):
					for path := range told {
						if key.Match(e.Key, path) {
							delete(told, path)
						}
					}
				default:
					delete(told, e.Key)
				}
			}
		}
		add := func(kind changeKind, event Event) { b.add(&change{kind: kind, Event: event}) }
		erase := func(path string, kind changeKind) {
			if there[path] {
				delete(there, path)
				silent[path] = kind == changeSilent
				add(kind, Event{Key: path, Operation: OperationDel})
			}
		}
		for range 300 {
			path := fmt.Sprintf("%c/%d", 'a'+byte(r.IntN(2)), r.IntN(5))
			switch n := r.IntN(100); {
			case n < 50:
				kind := changeSet
				if !there[path] {
					kind = changeCreate
				}
				there[path] = true
				delete(silent, path)
				add(kind, Event{Key: path, Operation: OperationSet})
			case n < 80:
				erase(path, changeDel)
			case n < 84:
				erase(path, changeSilent)
			case n < 88:
				for path := range maps.Clone(there) {
					if key.Match("a/*", path) {
						erase(path, changePart)
					}
				}
				maps.DeleteFunc(silent, func(path string, _ bool) bool { return key.Match("a/*", path) })
				add(changePattern, Event{Key: "a/*", Operation: OperationDel})
			case n < 90:
				add(changeClear, Event{Operation: OperationClear})
				clear(there)
				clear(silent)
			default:
				take(r.IntN(6))
			}
			if most := b.limit + 10 + 2; b.newest != nil && b.live > most { // the keys, and what names many
				t.Fatalf("run %d: %d entries wait, with a limit of %d and 10 keys", run, b.live, b.limit)
			}
		}
		take(1 << 20)
		for path := range silent {
			delete(told, path)
		}
		for path := range there {
			if !told[path] {
				t.Fatalf("run %d: %s is there, and its consumer does not know", run, path)
			}
		}
		for path := range told {
			if !there[path] {
				t.Fatalf("run %d: %s is gone, and its consumer does not know", run, path)
			}
		}
	}
}
