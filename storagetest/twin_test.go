package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// twinStore returns a store on a node of its own.
func twinStore(t *Twin) *storage.Layered {
	return storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: t.Node()})
}

// nodes are stores over one twin, each on a node of its own.
type nodes struct {
	*Twin
	layers []*TwinNode
	stores []*storage.Layered
}

func startNodes(t *testing.T, n int, opt storage.Options) *nodes {
	t.Helper()
	return startNodesOf(t, new(Twin), n, opt)
}

func startNodesOf(t *testing.T, twin *Twin, n int, opt storage.Options) *nodes {
	t.Helper()
	c := &nodes{Twin: twin}
	for range n {
		layer := c.Node()
		store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer})
		must(t, "Start", store.Start(opt))
		t.Cleanup(store.Close)
		c.layers, c.stores = append(c.layers, layer), append(c.stores, store)
	}
	return c
}

func barrier(t *testing.T, s *storage.Layered) {
	t.Helper()
	must(t, "Barrier", s.Barrier(t.Context()))
}

func wantData(t *testing.T, s *storage.Layered, path, want string) meta.Object {
	t.Helper()
	obj, err := s.Get(path)
	if err != nil || string(obj.Data) != want {
		t.Errorf("Get(%q) = %s, %v, want %s", path, obj.Data, err, want)
	}
	return obj
}

func TestSharedByTwo(t *testing.T) {
	c := startNodes(t, 2, storage.Options{})
	a, b := c.stores[0], c.stores[1]
	put := func(s *storage.Layered, path, data string) {
		t.Helper()
		_, err := s.Set(path, json.RawMessage(data))
		must(t, "Set", err)
	}
	put(a, "things/lamp", `1`)
	made := wantData(t, a, "things/lamp", `1`)
	barrier(t, b)
	if seen := wantData(t, b, "things/lamp", `1`); seen.Revision != made.Revision || seen.Created != made.Created {
		t.Errorf("the other node has %+v, want %+v", seen, made)
	}
	put(b, "things/lamp", `2`)
	if now := wantData(t, b, "things/lamp", `2`); now.Created != made.Created || now.Updated == 0 {
		t.Errorf("a Set by the other node makes %+v of %+v: Created is kept, Updated set", now, made)
	}
	// Conditions are judged by the order, not by a mirror that may be behind.
	if _, err := a.SetWith("things/lamp", json.RawMessage(`3`), storage.SetOptions{IfRevision: made.Revision}); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("SetWith at a revision that is gone: %v, want ErrConflict", err)
	}
	if _, err := a.SetWith("things/lamp", json.RawMessage(`3`), storage.SetOptions{IfRevision: wantData(t, b, "things/lamp", `2`).Revision}); err != nil {
		t.Errorf("SetWith at the revision of the other node's write: %v", err)
	}
	must(t, "Del", b.Del("things/lamp"))
	if err := a.Del("things/lamp"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Del of what the other node removed: %v, want ErrNotFound", err)
	}
	put(a, "things/lamp", `4`)
	must(t, "Del of what this node has not seen", b.Del("things/lamp"))
	put(a, "things/b/1", `1`)
	must(t, "Del of a glob", b.Del("things/**"))
	barrier(t, a)
	if keys, err := a.Keys(); err != nil || len(keys) > 0 {
		t.Errorf("Keys = %v, %v after a glob delete by the other node", keys, err)
	}
}

// What one node says to its subscribers, and what it says of it, means the same on each other.
func TestSharedSubscriptionMoves(t *testing.T) {
	c := startNodes(t, 2, storage.Options{})
	a, b := c.stores[0], c.stores[1]
	sub, err := a.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{})
	must(t, "Subscribe", err)
	next := func(s *storage.Subscription, want string) {
		t.Helper()
		n, err := s.Next(t.Context())
		must(t, "Next", err)
		if got := fmt.Sprint(n.Kind, " ", n.Path); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	next(sub, "live ")
	for i := range 4 {
		_, err := c.stores[i%2].Set("k/"+strconv.Itoa(i), json.RawMessage(`1`))
		must(t, "Set", err)
	}
	next(sub, "set k/0")
	next(sub, "set k/1")
	sub.Close()
	moved, err := b.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{From: sub.Revision()})
	must(t, "Subscribe on the other node", err)
	defer moved.Close()
	next(moved, "set k/2")
	next(moved, "set k/3")
	next(moved, "live ")
}

// A node that begins has what others gave out before, and what it gives out itself goes on at them.
func TestSharedSubscriptionOfAFreshNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startNodes(t, 1, storage.Options{})
		_, err := c.stores[0].Set("k/1", json.RawMessage(`1`))
		must(t, "Set", err)
		fresh := twinStore(c.Twin)
		must(t, "Start", fresh.Start(storage.Options{}))
		t.Cleanup(fresh.Close)
		sub, err := fresh.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{})
		must(t, "Subscribe", err)
		wantNotices(t, sub, "state k/1", "live ")
		token := sub.Revision()
		sub.Close()
		for range 2 { // right away, and behind one more change
			again, err := c.stores[0].Subscribe(t.Context(), "k/*", storage.SubscribeOptions{From: token})
			must(t, "Subscribe from a revision of the fresh node", err)
			_, err = fresh.Set("k/2", json.RawMessage(`1`))
			must(t, "Set", err)
			wantNotices(t, again, "live ", "set k/2")
			again.Close()
			must(t, "Del", fresh.Del("k/2"))
			barrier(t, c.stores[0])
			token = c.stores[0].Revision()
		}
	})
}

func TestSharedEngineLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startNodes(t, 2, storage.Options{MaxStaleness: 3 * time.Second})
		a, b := c.stores[0], c.stores[1]
		_, err := a.Set("k/1", json.RawMessage(`1`))
		must(t, "Set", err)
		barrier(t, b)
		sub, err := b.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{})
		must(t, "Subscribe", err)
		defer sub.Close()

		c.layers[1].Cut()
		if _, err := b.Set("k/2", json.RawMessage(`1`)); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Set on a node that is cut off: %v, want ErrUnavailable", err)
		}
		if err := b.Barrier(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Barrier on a node that is cut off: %v, want ErrUnavailable", err)
		}
		wantData(t, b, "k/1", `1`)
		time.Sleep(2 * time.Second)
		if stats := b.Stats(); stats.Staleness < time.Second || stats.Unavailable == nil || stats.WritesStopped != nil {
			t.Errorf("Stats say Staleness %v, Unavailable %v, WritesStopped %v", stats.Staleness, stats.Unavailable, stats.WritesStopped)
		}
		wantData(t, b, "k/1", `1`)
		time.Sleep(2 * time.Second)
		for name, read := range map[string]func() error{
			"Get":      func() error { _, err := b.Get("k/1"); return err },
			"GetList":  func() error { _, err := b.GetList("k/*"); return err },
			"Keys":     func() error { _, err := b.Keys(); return err },
			"Count":    func() error { _, err := b.Count("k/*"); return err },
			"Page":     func() error { _, err := b.Page("k/*", storage.ListOptions{}); return err },
			"Snapshot": func() error { _, err := b.Snapshot(t.Context(), ""); return err },
			"Directories": func() error {
				_, err := b.Directories("")
				return err
			},
			"Iterate": func() error {
				for _, err := range b.Iterate("k/*", storage.ListOptions{}) {
					return err
				}
				return nil
			},
		} {
			if err := read(); !errors.Is(err, storage.ErrStale) {
				t.Errorf("%s on a node that is too old: %v, want ErrStale", name, err)
			}
		}
		if _, err := b.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{}); err != nil {
			t.Errorf("Subscribe on a node that is cut off: %v", err)
		}
		_, err = a.Set("k/3", json.RawMessage(`1`))
		must(t, "Set on the other node", err)

		c.layers[1].Heal()
		time.Sleep(2 * time.Second)
		wantData(t, b, "k/3", `1`)
		if _, err := b.Set("k/2", json.RawMessage(`1`)); err != nil {
			t.Errorf("Set once the node is back: %v", err)
		}
		wantNotices(t, sub, "state k/1", "live ", "set k/3", "set k/2")

		// Where the history went on without the node, subscribers begin anew, and hold what there is.
		c.layers[1].Cut()
		must(t, "Del", a.Del("k/1"))
		_, err = a.Set("k/4", json.RawMessage(`1`))
		must(t, "Set", err)
		c.Compact()
		c.layers[1].Heal()
		time.Sleep(5 * time.Second)
		barrier(t, b)
		wantNotices(t, sub, "reset ", "state k/2", "state k/3", "state k/4", "live ")
		if stats := b.Stats(); stats.Unavailable != nil || stats.Staleness > time.Second {
			t.Errorf("Stats say Unavailable %v, Staleness %v on a node that is back", stats.Unavailable, stats.Staleness)
		}
	})
}

// wantNotices takes as many notices as are wanted, those of a state in no order.
func wantNotices(t *testing.T, s *storage.Subscription, want ...string) {
	t.Helper()
	var got []string
	for range want {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		n, err := s.Next(ctx)
		cancel()
		if err != nil {
			t.Fatalf("told %q, then %v, want %q", got, err, want)
		}
		got = append(got, fmt.Sprint(n.Kind, " ", n.Path))
	}
	first := slices.IndexFunc(got, func(s string) bool { return s == "live " })
	if first > 0 {
		slices.Sort(got[slices.IndexFunc(got, func(s string) bool { return s != "reset " }):first])
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// A write whose answer is lost waits until it is known, and is there once.
func TestSharedAnswerLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startNodes(t, 2, storage.Options{})
		a, b := c.stores[0], c.stores[1]
		c.layers[0].LoseAnswers()
		done := make(chan error, 1)
		go func() {
			_, err := a.Push("k/*", json.RawMessage(`1`))
			done <- err
		}()
		synctest.Wait()
		barrier(t, b)
		if n, err := b.Count("k/*"); err != nil || n != 1 {
			t.Errorf("the other node counts %d, %v", n, err)
		}
		select {
		case err := <-done:
			t.Errorf("Push returned %v before its outcome was known", err)
		default:
		}
		if sub, err := a.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{}); err != nil {
			t.Errorf("Subscribe beside a write whose outcome is open: %v", err)
		} else {
			sub.Close()
		}
		c.layers[0].Heal()
		must(t, "Push", <-done)
		if n, err := a.Count("k/*"); err != nil || n != 1 {
			t.Errorf("its own node counts %d, %v", n, err)
		}
		// Close ends who waits for an engine that is gone.
		c.layers[0].LoseAnswers()
		go func() {
			_, err := a.Push("k/*", json.RawMessage(`1`))
			done <- err
		}()
		synctest.Wait()
		a.Close()
		if err := <-done; !errors.Is(err, storage.ErrNotActive) {
			t.Errorf("a Push that waits for its outcome ends with %v at Close, want ErrNotActive", err)
		}
	})
}

func TestSharedExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var proposals [3]atomic.Int32
		c := startNodesOf(t, &Twin{Delay: func(node int, step string) {
			if step == "propose" {
				proposals[node].Add(1)
			}
		}}, 3, storage.Options{})
		subs := make([]*storage.Subscription, 3)
		for i, s := range c.stores {
			var err error
			subs[i], err = s.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{})
			must(t, "Subscribe", err)
			defer subs[i].Close()
		}
		put := func(s *storage.Layered, path string) {
			t.Helper()
			_, err := s.SetWith(path, json.RawMessage(`1`), storage.SetOptions{TTL: time.Second})
			must(t, "SetWith", err)
		}
		put(c.stores[2], "k/1")
		time.Sleep(time.Second)
		for i, s := range c.stores {
			if _, err := s.Get("k/1"); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("node %d returns an expired object: %v", i, err)
			}
		}
		time.Sleep(time.Second)
		// Who removed until now is gone: another one does.
		c.layers[0].Cut()
		put(c.stores[1], "k/2")
		time.Sleep(3 * time.Second)
		c.layers[0].Heal()
		time.Sleep(3 * time.Second)
		for _, sub := range subs {
			wantNotices(t, sub, "live ", "set k/1", "del k/1", "set k/2", "del k/2")
		}
		if n := len(c.objects); n > 0 {
			t.Errorf("the engine holds %d objects", n)
		}
		if n := proposals[2].Load(); n != 1 {
			t.Errorf("a node that is never elected proposes %d times, want its put alone", n)
		}
	})
}

// Pushes by several nodes into one list never make it longer than its limit, at any revision.
func TestSharedLimit(t *testing.T) {
	const limit = 5
	c := startNodes(t, 3, storage.Options{Retention: []storage.Retention{{Pattern: "log/*", Count: limit}}})
	var work sync.WaitGroup
	for _, s := range c.stores {
		work.Go(func() {
			for i := range 40 {
				if _, err := s.Push("log/*", json.RawMessage(strconv.Itoa(i))); err != nil {
					t.Errorf("Push: %v", err)
				}
			}
		})
	}
	work.Wait()
	held := 0
	for _, commit := range c.log {
		for _, change := range commit.Changes {
			if change.Object != nil {
				held++
			} else {
				held--
			}
		}
		if held > limit {
			t.Fatalf("at revision %d the list holds %d objects, the limit is %d", commit.Revision, held, limit)
		}
	}
	if held != limit {
		t.Errorf("the list holds %d objects at the end, want %d", held, limit)
	}
}

func TestSharedLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startNodes(t, 2, storage.Options{})
		a, b := c.stores[0], c.stores[1]
		first, err := a.Acquire(t.Context(), "l", time.Minute)
		must(t, "Acquire", err)
		if _, err := b.TryAcquire("l", time.Minute); !errors.Is(err, storage.ErrLocked) {
			t.Errorf("TryAcquire of a lock of the other node: %v, want ErrLocked", err)
		}
		got := make(chan *storage.Lease, 1)
		go func() {
			lease, err := b.Acquire(context.Background(), "l", time.Minute)
			if err != nil {
				t.Errorf("Acquire: %v", err)
			}
			got <- lease
		}()
		synctest.Wait()
		short, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		if _, err := b.Acquire(short, "l", time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire that gives up: %v", err)
		}
		_, err = a.SetWith("k", json.RawMessage(`1`), storage.SetOptions{Lease: first})
		must(t, "SetWith bound to the lease", err)
		must(t, "Renew", first.Renew(time.Minute))
		must(t, "Release", first.Release())
		second := <-got
		if second.Token() <= first.Token() {
			t.Errorf("the token %d of the later lease is not above %d", second.Token(), first.Token())
		}
		if _, err := a.SetWith("k", json.RawMessage(`2`), storage.SetOptions{Lease: first}); !errors.Is(err, storage.ErrLeaseLost) {
			t.Errorf("SetWith bound to a lease that was released: %v", err)
		}
		c.Break()
		if _, err := b.SetWith("k", json.RawMessage(`3`), storage.SetOptions{Lease: second}); !errors.Is(err, storage.ErrLeaseLost) {
			t.Errorf("SetWith bound to a lease that the engine took away: %v", err)
		}
		<-second.Done()
		if err := second.Renew(time.Minute); !errors.Is(err, storage.ErrLeaseLost) {
			t.Errorf("Renew of it: %v", err)
		}
		third, err := a.Acquire(t.Context(), "l", time.Second)
		must(t, "Acquire", err)
		<-third.Done()
		synctest.Wait()
		fourth, err := b.TryAcquire("l", time.Minute)
		must(t, "TryAcquire once the time of the other node's is over", err)
		b.Close()
		<-fourth.Done()
		synctest.Wait()
		_, err = a.TryAcquire("l", time.Minute)
		must(t, "TryAcquire once the other node is closed", err)
		wantData(t, a, "k", `1`)
	})
}

// What comes from outside of all stores, and what they cannot see beforehand, is applied like all else.
func TestSharedForeignWrites(t *testing.T) {
	c := startNodes(t, 1, storage.Options{})
	c.Put(meta.Object{Path: "k/1", Created: 1, Data: json.RawMessage(`1`)})
	barrier(t, c.stores[0])
	wantData(t, c.stores[0], "k/1", `1`)
}
