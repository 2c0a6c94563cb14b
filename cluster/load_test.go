package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/oolith-db/oolith/cluster/etcdserver"
	"github.com/oolith-db/oolith/cluster/internal/flaky"
	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// counted is what writers of a cluster wrote, and what was acknowledged.
type counted struct {
	mu     sync.Mutex
	pushed map[string]bool // acknowledged
	asked  map[string]bool // all, whatever became of them
	added  int
}

// load writes from a store until over: pushes with a name each, and a counter.
func (c *counted) load(t *testing.T, s *storage.Layered, name string, over <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-over:
			return
		default:
		}
		id := fmt.Sprintf(`"%s-%d"`, name, i)
		c.mu.Lock()
		c.asked[id] = true
		c.mu.Unlock()
		_, err := s.Push("log/*", json.RawMessage(id))
		if err == nil {
			c.mu.Lock()
			c.pushed[id] = true
			c.mu.Unlock()
			_, err = s.Update("counter", func(old meta.Object) (json.RawMessage, error) {
				n := 0
				if len(old.Data) > 0 {
					if err := json.Unmarshal(old.Data, &n); err != nil {
						return nil, err
					}
				}
				return json.RawMessage(strconv.Itoa(n + 1)), nil
			})
			if err == nil {
				c.mu.Lock()
				c.added++
				c.mu.Unlock()
			}
		}
		if err != nil && !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // a loop that finds nobody there must not spin
		}
	}
}

// check holds what a store has against what was acknowledged: each once, and nothing that was refused.
func (c *counted) check(t *testing.T, s *storage.Layered) {
	t.Helper()
	for {
		err := s.Barrier(t.Context())
		if err == nil {
			break
		}
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("Barrier: %v", err)
		}
	}
	list, err := s.GetList("log/*")
	must(t, "GetList", err)
	held := make(map[string]bool)
	for _, obj := range list {
		if id := string(obj.Data); held[id] {
			t.Errorf("%s is there twice", id)
		} else {
			held[id] = true
		}
	}
	if !maps.Equal(held, c.pushed) {
		for id := range c.pushed {
			if !held[id] {
				t.Errorf("%s was acknowledged and is lost", id)
			}
		}
		for id := range held {
			if !c.pushed[id] {
				t.Errorf("%s was refused and is there", id)
			}
		}
	}
	if obj, err := s.Get("counter"); err != nil || string(obj.Data) != strconv.Itoa(c.added) {
		t.Errorf("the counter is %s, %v, want %d", obj.Data, err, c.added)
	}
}

func newCounted() *counted {
	return &counted{pushed: make(map[string]bool), asked: make(map[string]bool)}
}

// Connections that are cut, and that lose all packets for a while, at random, lose and double nothing.
func TestConnectionsCutAtRandom(t *testing.T) {
	prefix := freshPrefix()
	c := newCounted()
	over := make(chan struct{})
	var writers sync.WaitGroup
	var proxies []*flaky.Proxy
	var stores []*storage.Layered
	for i := range 3 {
		p := startProxy(t, endpoint)
		s := startStore(t, []string{p.Addr()}, prefix)
		proxies, stores = append(proxies, p), append(stores, s)
		for w := range 2 {
			writers.Go(func() { c.load(t, s, fmt.Sprintf("n%d-w%d", i, w), over) })
		}
	}
	for range 25 {
		p := proxies[rand.IntN(len(proxies))]
		if rand.IntN(3) == 0 {
			p.SetOff(true)
			time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
			p.Cut()
			p.SetOff(false)
		} else {
			p.Cut()
		}
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
	}
	close(over)
	writers.Wait()
	t.Logf("%d pushes, %d of them acknowledged, counted to %d", len(c.asked), len(c.pushed), c.added)
	if len(c.pushed) == 0 {
		t.Error("nothing was acknowledged")
	}
	for _, s := range stores {
		c.check(t, s)
	}
}

// Members that are killed while all nodes write, one after the other and all at once, lose and double nothing.
func TestMembersKilled(t *testing.T) {
	m, err := etcdserver.Spawn(t.TempDir(), 3)
	must(t, "Spawn", err)
	t.Cleanup(m.Close)
	c := newCounted()
	over := make(chan struct{})
	var writers sync.WaitGroup
	var stores []*storage.Layered
	for i := range 3 {
		s := storage.New(storage.LayeredConfig{
			Memory:   storage.NewMemoryLayer(),
			Embedded: etcd.New(m.Endpoints(), etcd.Options{RequestTimeout: 3 * time.Second}),
		})
		for err := s.Start(storage.Options{}); err != nil; err = s.Start(storage.Options{}) {
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Fatalf("Start: %v", err)
			}
			must(t, "the members", m.Lost())
		}
		t.Cleanup(s.Close)
		stores = append(stores, s)
		writers.Go(func() { c.load(t, s, fmt.Sprint("n", i), over) })
	}
	progress := func(more int) {
		t.Helper()
		c.mu.Lock()
		want := len(c.pushed) + more
		c.mu.Unlock()
		for {
			c.mu.Lock()
			n := len(c.pushed)
			c.mu.Unlock()
			if n >= want {
				return
			}
			must(t, "the members", m.Lost())
			time.Sleep(20 * time.Millisecond)
		}
	}
	progress(20)
	for i := range 3 {
		m.Kill(i)
		progress(5)
		must(t, "start of a member", m.Start(i))
		progress(5)
	}
	for i := range 3 { // all of them
		m.Kill(i)
	}
	for i := range 3 {
		must(t, "start of a member", m.Start(i))
	}
	progress(5)
	close(over)
	writers.Wait()
	t.Logf("%d pushes, %d of them acknowledged, counted to %d", len(c.asked), len(c.pushed), c.added)
	for _, s := range stores {
		c.check(t, s)
	}
}
