package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/cluster/etcdserver"
	"github.com/oolith-db/oolith/storage"
)

// A cluster that gets out of space while connections are cut loses and doubles nothing, no writer waits for room, reads go on, and writes
// do once there is room again.
func TestOutOfSpace(t *testing.T) {
	ports, err := etcdserver.FreePorts(2)
	must(t, "FreePorts", err)
	self := etcdserver.Member{Name: "small", ClientPort: ports[0], PeerPort: ports[1], Quota: 16 << 20}
	server, err := etcdserver.Start(t.Context(), t.TempDir(), self, []etcdserver.Member{self})
	must(t, "Start", err)
	t.Cleanup(server.Close)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{self.Client()}, DialTimeout: 10 * time.Second})
	must(t, "client", err)
	t.Cleanup(func() { _ = c.Close() })
	p := startProxy(t, self.Client())
	s := startStore(t, []string{p.Addr()}, "app/")

	counted, over := newCounted(), make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() { counted.load(t, s, fmt.Sprint("w", w), over) })
	}
	filled := 0
	for err == nil { // it is filled beside the store
		_, err = c.Put(t.Context(), fmt.Sprint("large/", filled), strings.Repeat("x", 1<<20))
		if filled++; rand.IntN(3) == 0 {
			p.Cut()
		}
	}
	if !strings.Contains(err.Error(), "space") {
		t.Fatalf("what ends the filling is %v", err)
	}
	for range 20 {
		p.Cut()
		time.Sleep(rand.N(50 * time.Millisecond))
	}
	close(over)
	writers.Wait() // nobody waits for room
	for {
		_, err = s.Set("k", json.RawMessage(`1`))
		if err != nil && strings.Contains(err.Error(), "the cluster's database is full") {
			break
		}
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("Set out of space: %v", err)
		}
	}
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Set out of space: %v, want ErrUnavailable", err)
	}
	counted.check(t, s)

	now, err := c.Delete(t.Context(), "large/", clientv3.WithPrefix())
	must(t, "Delete", err)
	_, err = c.Compact(t.Context(), now.Header.Revision, clientv3.WithCompactPhysical())
	must(t, "Compact", err)
	_, err = c.Defragment(t.Context(), self.Client())
	must(t, "Defragment", err)
	_, err = c.AlarmDisarm(t.Context(), &clientv3.AlarmMember{Alarm: etcdserverpb.AlarmType_NOSPACE, MemberID: now.Header.MemberId})
	must(t, "AlarmDisarm", err)
	for {
		_, err := s.Set("k", json.RawMessage(`1`))
		if err == nil {
			break
		}
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("Set once there is room: %v", err)
		}
	}
	counted.check(t, s)
}
