package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

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

	lease, err := a.Acquire(t.Context(), "many", time.Minute)
	must(t, "Acquire", err)
	var bound storage.Batch
	for i := range n {
		bound.SetWith(fmt.Sprintf("bound/%d", i), json.RawMessage(`1`), storage.SetOptions{Lease: lease})
	}
	_, err = a.Commit(&bound)
	must(t, "Commit of a batch that is bound to a lease", err)
	count("**", n)
	must(t, "Truncate", b.Truncate())

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

// A history that is compacted while a node reads the content does not fail its start.
func TestCompactedWhileRead(t *testing.T) {
	prefix := freshPrefix()
	a, c := startStore(t, []string{endpoint}, prefix), newClient(t)
	text := json.RawMessage(`"` + strings.Repeat("x", 10<<10) + `"`)
	const n = 2000 // more than a connection holds
	for from := 0; from < n; from += 100 {
		var batch storage.Batch
		for i := range 100 {
			batch.Set(fmt.Sprintf("k/%d", from+i), text)
		}
		_, err := a.Commit(&batch)
		must(t, "Commit", err)
	}
	compact := func() {
		must(t, "Set", second(a.Set("other", json.RawMessage(`1`))))
		now, err := c.Get(t.Context(), "x")
		must(t, "Get", err)
		must(t, "Compact", second(c.Compact(t.Context(), now.Header.Revision, clientv3.WithCompactPhysical())))
	}
	layer := &compactedLayer{Layer: etcd.New([]string{endpoint}, etcd.Options{Prefix: prefix}), compact: sync.OnceFunc(compact)}
	s := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer})
	must(t, "Start", s.Start(storage.Options{}))
	defer s.Close()
	if !errors.Is(layer.ended, storage.ErrHistoryGone) {
		t.Errorf("the first reading ended with %v, want ErrHistoryGone", layer.ended)
	}
	if got, err := s.Count("k/*"); err != nil || got != n {
		t.Errorf("%d objects, %v, want %d", got, err, n)
	}
}

// compactedLayer compacts the history once the first object is read, and keeps how the first reading ended.
type compactedLayer struct {
	*etcd.Layer
	compact func()
	ended   error
}

func (l *compactedLayer) Mirror(ctx context.Context) (uint64, iter.Seq2[meta.Object, error], error) {
	revision, objects, err := l.Layer.Mirror(ctx)
	return revision, func(yield func(meta.Object, error) bool) {
		for obj, err := range objects {
			l.compact()
			l.ended = cmp.Or(l.ended, err)
			if !yield(obj, err) {
				return
			}
		}
	}, err
}

func second[V any](_ V, err error) error { return err }

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
