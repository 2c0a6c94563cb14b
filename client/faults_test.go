package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/servertest"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// patient is a client that sends again, on a server of a durable store.
func patient(t *testing.T) (*servertest.Server, *client.Client) {
	t.Helper()
	s := servertest.Start(t, server.Options{}, storagetest.NewBatchLayer(new(storagetest.Disk), "store"))
	c, err := client.New(s.URL, client.Options{HTTP: s.HTTP, Retries: 1000, Timeout: 300 * time.Millisecond, Silence: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// faults are what a wire does to an exchange.
var faults = map[string]servertest.Fault{
	"a request that is lost":            {Lost: true},
	"an answer that is lost":            {Cut: true},
	"an answer that is cut off":         {Cut: true, After: 40},
	"an answer that lacks its end":      {Cut: true, After: 330},
	"an answer that never comes":        {Stall: true},
	"an answer that stalls in its body": {Stall: true, After: 330},
	"a request that comes twice":        {Twice: true},
	"twice, and the answer is lost":     {Twice: true, Cut: true},
	"a request that is late":            {Delay: 5 * time.Millisecond},
}

// Whatever one exchange meets, each write is made once, and each read is whole.
func TestFaults(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			s, c := patient(t)
			ctx := t.Context()
			for i := range 3 {
				asked, next := 0, servertest.Next(fault)
				s.Faults(func(r *http.Request) servertest.Fault {
					asked++ // one request behind the other
					return next(r)
				})
				made, err := c.Push(ctx, "l/*", json.RawMessage(fmt.Sprint(i)), storage.SetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if broken := fault.Lost || fault.Cut || fault.Stall; broken != (asked > 1) {
					t.Errorf("a push took %d requests", asked)
				}
				s.Faults(servertest.Next(fault, fault))
				got, err := c.Get(ctx, made.Path)
				if err != nil || string(got.Data) != fmt.Sprint(i) || got.Revision != made.Revision || got.Created != made.Created {
					t.Errorf("push %d: made %+v, there is %+v, %v", i, made, got, err)
				}
			}
			first, err := c.Set(ctx, "a", json.RawMessage("1"), storage.SetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			s.Faults(servertest.Next(fault))
			second, err := c.Set(ctx, "a", json.RawMessage("2"), storage.SetOptions{IfRevision: first.Revision})
			if err != nil {
				t.Errorf("a write under a condition: %v", err)
			}
			s.Faults(servertest.Next(fault))
			if err := c.Del(ctx, "a", storage.DelOptions{IfRevision: second.Revision}); err != nil {
				t.Errorf("a delete: %v", err)
			}
			s.Faults(servertest.Next(fault))
			page, err := c.Page(ctx, "l/*", storage.ListOptions{})
			if err != nil || len(page.Objects) != 3 || page.Revision == 0 {
				t.Errorf("3 pushes made %d objects at %d, %v", len(page.Objects), page.Revision, err)
			}
		})
	}
}

// The delete of a pattern has no key that keeps it from being made twice: it is sent again only where it was not made.
func TestDeleteOfAPatternIsSentOnce(t *testing.T) {
	s, c := patient(t)
	ctx := t.Context()
	set := func(path string) {
		t.Helper()
		if _, err := s.Store.Set(path, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	set("l/1")
	var asked atomic.Int64
	s.Faults(func(r *http.Request) servertest.Fault {
		if r.Method == http.MethodDelete && asked.Add(1) == 1 {
			return servertest.Fault{Cut: true}
		}
		return servertest.Fault{}
	})
	if err := c.Del(ctx, "l/*", storage.DelOptions{}); err == nil {
		t.Error("the answer was lost, and nobody is told")
	}
	set("l/2")
	if n := asked.Load(); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	if _, err := s.Store.Get("l/2"); err != nil {
		t.Error(err)
	}
	s.Stop()
	done := make(chan error, 1)
	go func() { done <- c.Del(ctx, "l/*", storage.DelOptions{}) }() // refused, until the server is there again
	s.Restart()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n, err := s.Store.Count("l/*"); err != nil || n != 0 {
		t.Errorf("%d are left, %v", n, err)
	}
}

// A server that is not there is an error at once, or waited for, as the client says.
func TestServerThatIsNotThere(t *testing.T) {
	s, c := patient(t)
	ctx := t.Context()
	s.Stop()
	if _, err := s.Client.Get(ctx, "a"); err == nil || errors.Is(err, storage.ErrNotFound) {
		t.Errorf("without retries: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Set(ctx, "a", json.RawMessage("1"), storage.SetOptions{})
		done <- err
	}()
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := c.Get(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a context that ends: %v", err)
	}
	s.Restart()
	if err := <-done; err != nil {
		t.Errorf("a write that waited: %v", err)
	}
	refused, err := c.Subscribe("a", client.SubscribeOptions{Retry: func(err error) error { return err }})
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	s.Stop()
	if _, err := refused.Next(ctx); err == nil {
		t.Error("a subscription that is not to wait for the server waits")
	}
	s.Restart()
	if n, err := refused.Next(ctx); err != nil || n.Kind != storage.NoticeState || n.Path != "a" {
		t.Errorf("once it is there: %+v, %v", n, err)
	}
}

// An attempt has its own time, which is not the caller's.
func TestTimeout(t *testing.T) {
	s := servertest.Start(t, server.Options{})
	c, err := client.New(s.URL, client.Options{HTTP: s.HTTP, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s.Faults(func(*http.Request) servertest.Fault { return servertest.Fault{Stall: true, After: 20} })
	if _, err := c.Get(t.Context(), "a"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an answer that stalls: %v, want an error that is not the caller's", err)
	}
}

// anyFault chooses among all faults, and mostly none.
func anyFault(random *rand.Rand) func(*http.Request) servertest.Fault {
	var mu sync.Mutex // guards random
	return func(*http.Request) servertest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(3) > 0 {
			return servertest.Fault{}
		}
		return servertest.Fault{
			Lost: random.IntN(4) == 0, Twice: random.IntN(3) == 0, Cut: random.IntN(2) == 0, Stall: random.IntN(10) == 0,
			After: random.IntN(2000), Delay: time.Duration(random.IntN(2)) * time.Millisecond,
		}
	}
}

// Writers and a subscriber over a wire that fails at random, and a server that is restarted: each write is made once, and
// the subscriber is told each change once, or a fresh state.
func TestAllFaultsAtOnce(t *testing.T) {
	s, c := patient(t)
	ctx := t.Context()
	choose := anyFault(testrand.New(t))
	s.Faults(choose)
	sub, err := c.Subscribe("l/*", client.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	const writers, each, restarts = 4, 40, 3
	var writing sync.WaitGroup
	acknowledged := make([][]string, writers)
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				made, err := c.Push(ctx, "l/*", json.RawMessage(fmt.Sprintf(`"%d-%d"`, w, i)), storage.SetOptions{})
				if err != nil {
					t.Errorf("push %d-%d: %v", w, i, err)
					return
				}
				acknowledged[w] = append(acknowledged[w], made.Path)
			}
			if _, err := c.Set(ctx, fmt.Sprintf("l/done%d", w), json.RawMessage("true"), storage.SetOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	state, last, changes, resets := map[string]string{}, uint64(0), 0, 0
	whole := false      // the state is told as a whole
	var course []string // what was told, for a failure
	done := func() bool {
		n := 0
		for w := range writers {
			if state[fmt.Sprintf("l/done%d", w)] != "" {
				n++
			}
		}
		return whole && n == writers
	}
	for told := 1; !done(); told++ {
		n, err := sub.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		course = append(course, fmt.Sprintf("%v %d", n.Kind, n.Revision))
		switch n.Kind {
		case storage.NoticeReset:
			clear(state)
			last, whole = 0, false
			resets++
		case storage.NoticeLive:
			whole = true
		case storage.NoticeState:
			state[n.Path] = string(n.Object.Data)
		case storage.NoticeSet:
			changes++
			if n.Revision <= last {
				t.Fatalf("the change %d of %s comes behind %d", n.Revision, n.Path, last)
			}
			if state[n.Path] != "" {
				t.Fatalf("%s is told twice", n.Path)
			}
			state[n.Path], last = string(n.Object.Data), n.Revision
		}
		if told%50 == 0 && resets < restarts {
			s.Restart()
			s.Faults(choose)
		}
	}
	writing.Wait()
	s.Faults(nil)
	objects, err := c.Page(ctx, "l/*", storage.ListOptions{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]string{}
	for _, obj := range objects.Objects {
		there[obj.Path] = string(obj.Data)
	}
	if !maps.Equal(there, state) {
		t.Errorf("the subscriber has %d objects, the store %d; it was told %q", len(state), len(there), course)
	}
	if want := writers * (each + 1); len(there) != want {
		t.Errorf("%d objects of %d writes", len(there), want)
	}
	for w, paths := range acknowledged {
		for i, path := range paths {
			if want := fmt.Sprintf(`"%d-%d"`, w, i); there[path] != want {
				t.Errorf("%s holds %s, want %s", path, there[path], want)
			}
		}
	}
	t.Logf("%d changes, %d resets", changes, resets)
}

// A subscription that is resumed by its token goes on where it was, in another process too.
func TestSubscribeToken(t *testing.T) {
	s, c := patient(t)
	ctx := t.Context()
	set := func(path string) {
		t.Helper()
		if _, err := c.Set(ctx, path, json.RawMessage("1"), storage.SetOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	until := func(sub *client.Subscription, path string) (paths []string) {
		t.Helper()
		for {
			n, err := sub.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if n.Kind != storage.NoticeLive {
				paths = append(paths, n.Kind.String()+" "+n.Path)
			}
			if n.Path == path {
				return paths
			}
		}
	}
	set("l/1")
	first, err := c.Subscribe("l/*", client.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if first.Token() != "" || first.Revision() != 0 {
		t.Error("a subscription that was told nothing has a token")
	}
	until(first, "l/1")
	set("l/2")
	until(first, "l/2")
	token, revision := first.Token(), first.Revision()
	first.Close()
	if _, err := first.Next(ctx); !errors.Is(err, storage.ErrSubscriptionClosed) {
		t.Errorf("after Close: %v", err)
	}
	set("l/3")
	for name, options := range map[string]client.SubscribeOptions{"its own": {Token: token}, "none": {Token: "x"}} {
		second, err := c.Subscribe("l/*", options)
		if err != nil {
			t.Fatal(err)
		}
		got, want := fmt.Sprint(until(second, "l/3")), map[string]string{"its own": "[set l/3]", "none": "[reset  state l/3]"}[name]
		if got != want {
			t.Errorf("with the token %s: %s, want %s", name, got, want)
		}
		second.Close()
	}
	third, err := c.Store(ctx).Subscribe(ctx, "l/*", storage.SubscribeOptions{From: revision})
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if got := fmt.Sprint(until(third, "l/3")); got != "[set l/3]" {
		t.Errorf("from a revision: %s", got)
	}
	if _, err := c.Store(ctx).Subscribe(ctx, "l/*", storage.SubscribeOptions{Limit: 1, Order: storage.OrderOldest}); !errors.Is(err, storage.ErrInvalidOptions) {
		t.Errorf("options that a network has not: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	fourth, err := c.Store(ctx).Subscribe(ended, "l/*", storage.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := fourth.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	_ = s
}
