package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/cluster/etcdserver"
	"github.com/oolith-db/oolith/cluster/internal/flaky"
	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// startStore starts a store over members, with requests that end soon.
func startStore(t *testing.T, endpoints []string, prefix string) *storage.Layered {
	t.Helper()
	s := storage.New(storage.LayeredConfig{
		Memory:   storage.NewMemoryLayer(),
		Embedded: etcd.New(endpoints, etcd.Options{Prefix: prefix, RequestTimeout: 3 * time.Second}),
	})
	must(t, "Start", s.Start(storage.Options{}))
	t.Cleanup(s.Close)
	return s
}

func startProxy(t *testing.T, target string) *flaky.Proxy {
	t.Helper()
	p, err := flaky.Start(target)
	must(t, "a proxy", err)
	t.Cleanup(p.Close)
	return p
}

func newClient(t *testing.T) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second})
	must(t, "client", err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The revision of etcd grows with keys that no store has, too: a barrier passes them.
func TestBarrierBesideOtherKeys(t *testing.T) {
	s := startStore(t, []string{endpoint}, freshPrefix())
	c := newClient(t)
	for i := range 5 {
		_, err := c.Put(t.Context(), "other/software", strconv.Itoa(i))
		must(t, "Put", err)
		must(t, "Barrier", s.Barrier(t.Context()))
		if err := s.Del("absent"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Del of what is absent: %v", err)
		}
	}
}

// A transaction of many keys, deletes of all kinds of patterns, and what other software writes.
func TestLargeTransactions(t *testing.T) {
	prefix := freshPrefix()
	a, b := startStore(t, []string{endpoint}, prefix), startStore(t, []string{endpoint}, prefix)
	var batch storage.Batch
	const n = 1500
	for i := range n {
		batch.Set(fmt.Sprintf("many/%d/x", i), json.RawMessage(`1`))
	}
	stored, err := a.Commit(&batch)
	must(t, "Commit", err)
	must(t, "Barrier", b.Barrier(t.Context()))
	for _, i := range []int{0, 1, n / 2, n - 1} {
		if obj, err := b.Get(stored[i].Path); err != nil || obj.Revision != stored[i].Revision {
			t.Errorf("the other node has revision %d, %v of %s, want %d", obj.Revision, err, stored[i].Path, stored[i].Revision)
		}
	}
	count := func(pattern string, want int) {
		t.Helper()
		for _, s := range []*storage.Layered{a, b} {
			must(t, "Barrier", s.Barrier(t.Context()))
			if got, err := s.Count(pattern); err != nil || got != want {
				t.Errorf("%d objects match %q, %v, want %d", got, pattern, err, want)
			}
		}
	}
	count("**", n)
	must(t, "Del of a pattern that is no range", b.Del("many/1*/x"))
	left := 0
	for i := range n {
		if strconv.Itoa(i)[0] != '1' {
			left++
		}
	}
	count("**", left)
	must(t, "Del of a subtree", a.Del("many/2/**"))
	count("**", left-1)
	must(t, "Del of a directory", a.Del("many/3/*"))
	count("**", left-2)
	must(t, "Truncate", b.Truncate())
	count("**", 0)

	var tooMany storage.Batch
	for i := range 5000 {
		tooMany.Set(fmt.Sprintf("k/%d", i), json.RawMessage(`1`))
	}
	if _, err := a.Commit(&tooMany); err == nil || !strings.Contains(err.Error(), "at most 3600") {
		t.Errorf("a batch of 5000: %v, want an error with the limit", err)
	}
	count("**", 0)

	_, err = newClient(t).Delete(t.Context(), prefix, clientv3.WithPrefix())
	must(t, "Delete by other software", err)
	_, err = a.Set("k/1", json.RawMessage(`1`))
	must(t, "Set after the record of the node was removed", err)
	count("k/*", 1)
}

// Writes of long paths, whose keys and conditions are larger than their data, go into as many transactions as etcd takes.
func TestLongPaths(t *testing.T) {
	s := startStore(t, []string{endpoint}, freshPrefix())
	path := func(i int) string { return fmt.Sprintf("%s/%d", strings.Repeat("k", 1000), i) }
	var writers sync.WaitGroup
	const n = 2000
	for i := range n {
		writers.Go(func() {
			if _, err := s.Set(path(i), json.RawMessage(`1`)); err != nil {
				t.Errorf("Set: %v", err)
			}
		})
	}
	writers.Wait()
	if got, err := s.Count("**"); err != nil || got != n {
		t.Errorf("%d objects, %v, want %d", got, err, n)
	}
	var batch storage.Batch
	refused := ""
	for i := range n { // what is counted as small enough is so for etcd
		if batch.Set(path(n+i), json.RawMessage(`1`)); i%20 != 19 {
			continue
		}
		if _, err := s.Commit(&batch); err != nil {
			refused = err.Error()
			break
		}
	}
	if !strings.Contains(refused, "etcd takes at most") {
		t.Errorf("the batch that is too large is refused by %q", refused)
	}
}

func TestHistoryIsCompacted(t *testing.T) {
	prefix := freshPrefix()
	a := startStore(t, []string{endpoint}, prefix)
	p := startProxy(t, endpoint)
	b := startStore(t, []string{p.Addr()}, prefix)
	_, err := a.Set("k/1", json.RawMessage(`1`))
	must(t, "Set", err)
	must(t, "Barrier", b.Barrier(t.Context()))
	sub, err := b.Subscribe(t.Context(), "k/*", storage.SubscribeOptions{})
	must(t, "Subscribe", err)
	defer sub.Close()
	p.SetOff(true)
	must(t, "Del", a.Del("k/1"))
	_, err = a.Set("k/2", json.RawMessage(`1`))
	must(t, "Set", err)
	c := newClient(t)
	now, err := c.Get(t.Context(), "x")
	must(t, "Get", err)
	_, err = c.Compact(t.Context(), now.Header.Revision, clientv3.WithCompactPhysical())
	must(t, "Compact", err)
	p.Cut() // what was under way with it
	p.SetOff(false)
	for err := error(storage.ErrUnavailable); err != nil; {
		if err = b.Barrier(t.Context()); err != nil && !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("Barrier: %v", err)
		}
	}
	var told []string
	for len(told) == 0 || told[len(told)-1] != "live k/2" {
		n, err := sub.Next(t.Context())
		must(t, "Next", err)
		told = append(told, fmt.Sprint(n.Kind, " ", n.Path))
		if n.Kind == storage.NoticeState && n.Path == "k/2" || n.Kind == storage.NoticeSet && n.Path == "k/2" {
			break
		}
	}
	if !slices.Contains(told, "reset ") {
		t.Errorf("told %q, want a reset", told)
	}
	if _, err := b.Get("k/1"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the node still has what was removed: %v; told %q", err, told)
	}
}

func TestStartRefuses(t *testing.T) {
	c := newClient(t)
	foreign, older, broken := freshPrefix(), freshPrefix(), freshPrefix()
	for stored, value := range map[string]string{
		foreign + "o/a\x00b": "x", older + "m": `{"format":9,"id":"1"}`, broken + "m": `x`,
	} {
		_, err := c.Put(t.Context(), stored, value)
		must(t, "Put", err)
	}
	damaged := freshPrefix()
	startStore(t, []string{endpoint}, damaged).Close()
	_, err := c.Put(t.Context(), damaged+"o/a\x00b", "no envelope")
	must(t, "Put", err)
	for _, refused := range []struct{ name, prefix, endpoint, want string }{
		{"objects without a marker", foreign, endpoint, "no marker"},
		{"another format", older, endpoint, "has format 9"},
		{"a marker that is none", broken, endpoint, "cannot be read"},
		{"an object that is none", damaged, endpoint, `key "a/b"`},
		{"nobody there", "x", "127.0.0.1:1", "cannot be reached"},
	} {
		s := storage.New(storage.LayeredConfig{
			Memory:   storage.NewMemoryLayer(),
			Embedded: etcd.New([]string{refused.endpoint}, etcd.Options{Prefix: refused.prefix, RequestTimeout: time.Second}),
		})
		err := s.Start(storage.Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), refused.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Start over %s: %v, want %q in one line", refused.name, err, refused.want)
		}
	}
}

func TestLeasesAcrossNodes(t *testing.T) {
	prefix := freshPrefix()
	a, b := startStore(t, []string{endpoint}, prefix), startStore(t, []string{endpoint}, prefix)
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
	bound := storage.SetOptions{Lease: first}
	_, err = a.SetWith("k", json.RawMessage(`1`), bound)
	must(t, "SetWith bound to the lease", err)
	must(t, "Renew", first.Renew(2*time.Minute))
	must(t, "Release", first.Release())
	second := <-got
	if second.Token() <= first.Token() {
		t.Errorf("the token %d of the later lease is not above %d", second.Token(), first.Token())
	}
	if _, err := a.SetWith("k", json.RawMessage(`2`), bound); !errors.Is(err, storage.ErrLeaseLost) {
		t.Errorf("SetWith bound to a lease that was released: %v", err)
	}
	// An operator takes the lock away.
	_, err = newClient(t).Delete(t.Context(), prefix+"l/", clientv3.WithPrefix())
	must(t, "Delete", err)
	if _, err := b.SetWith("k", json.RawMessage(`3`), storage.SetOptions{Lease: second}); !errors.Is(err, storage.ErrLeaseLost) {
		t.Errorf("SetWith bound to a lease that was taken away: %v", err)
	}
	third, err := a.Acquire(t.Context(), "l", 300*time.Millisecond)
	must(t, "Acquire", err)
	<-third.Done()
	fourth, err := b.Acquire(t.Context(), "l", time.Minute)
	must(t, "Acquire once the time of the other node's is over", err)
	b.Close()
	<-fourth.Done()
	_, err = a.TryAcquire("l", time.Minute)
	must(t, "TryAcquire once the other node is closed", err)
}

// The place of a node that crashed while it waited for a lock is free soon, however long it wanted the lock.
func TestPlaceOfACrashedNode(t *testing.T) {
	prefix := freshPrefix()
	p := startProxy(t, endpoint)
	a, b, crashes := startStore(t, []string{endpoint}, prefix), startStore(t, []string{endpoint}, prefix), startStore(t, []string{p.Addr()}, prefix)
	held, err := a.Acquire(t.Context(), "l", time.Hour)
	must(t, "Acquire", err)
	waiting, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	go func() { _, _ = crashes.Acquire(waiting, "l", time.Hour) }() // it never has it
	c := newClient(t)
	for places := int64(0); places < 2; {
		got, err := c.Get(t.Context(), prefix+"l/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		must(t, "Get", err)
		places = got.Count
	}
	p.SetOff(true)
	must(t, "Release", held.Release())
	for {
		_, err := b.TryAcquire("l", time.Hour)
		if err == nil {
			break
		}
		if !errors.Is(err, storage.ErrLocked) {
			t.Fatalf("TryAcquire: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// A lock that is given up while it is renewed is free: it does not go on under the lease that the renewal made.
func TestReleaseDuringRenew(t *testing.T) {
	layer := etcd.New([]string{endpoint}, etcd.Options{Prefix: freshPrefix()})
	must(t, "Start", layer.Start(storage.LayerOptions{}))
	t.Cleanup(layer.Close)
	for range 30 {
		lock, err := layer.Acquire(t.Context(), "l", time.Minute, false)
		must(t, "Acquire of a lock that was given up", err)
		var renewed error
		var renewal sync.WaitGroup
		renewal.Go(func() { renewed = lock.Renew(t.Context(), time.Hour) })
		time.Sleep(rand.N(3 * time.Millisecond))
		must(t, "Release", lock.Release(t.Context()))
		renewal.Wait()
		if renewed != nil && !errors.Is(renewed, storage.ErrLeaseLost) {
			t.Errorf("Renew beside Release: %v", renewed)
		}
	}
}

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
