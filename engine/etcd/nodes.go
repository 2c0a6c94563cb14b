package etcd

import (
	"context"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Each node has a record, which determines its outcomes, and a key bound to a lease: a sign of life. A node that
// closes removes both. The elected node removes the record of a crashed node once there has been no sign of life for
// sweepAfter.
//
// A node that is only cut off for that long also loses its record. It creates a new one, and nothing is lost, with
// one exception: if the answer to a transaction was lost when the node was cut off, its outcome can no longer be
// determined. The store of that node then stops its writes, see settle, and must be restarted.

const (
	// aliveTTL is how long the sign of life of a crashed node stays, in seconds.
	aliveTTL = 15
	// alivePause is how long a node waits after it failed to create its sign of life.
	alivePause = 5 * time.Second
	// sweepPause is the interval at which the elected node looks for nodes that are gone.
	sweepPause = time.Minute
	// sweepAfter is how long they must be gone: much longer than a network outage.
	sweepAfter = time.Hour
)

// live maintains signs of life until Close.
func (s *session) live() {
	for s.ctx.Err() == nil {
		s.liveOnce()
		select {
		case <-time.After(alivePause):
		case <-s.ctx.Done():
		}
	}
}

// liveOnce maintains signs of life for as long as etcd accepts them.
func (s *session) liveOnce() {
	ctx, cancel := s.timeout()
	defer cancel()
	lease, err := s.client.Grant(ctx, aliveTTL)
	if err != nil {
		return
	}
	defer s.revoke(lease.ID)
	if _, err := s.client.Put(ctx, s.keys.alive(s.node), "", clientv3.WithLease(lease.ID)); err != nil {
		return
	}
	alive, err := s.client.KeepAlive(s.ctx, lease.ID)
	if err != nil {
		return
	}
	for range alive {
	}
}

// absence records the absence of signs of life of a node.
type absence struct {
	since  time.Time
	record int64 // etcd's revision of its record
}

// sweep removes the records of nodes that have been gone, and have written nothing, for sweepAfter. gone keeps the
// start of each absence between calls.
func (s *session) sweep(gone map[string]absence, now time.Time) error {
	ctx, cancel := s.timeout()
	defer cancel()
	records, err := s.names(ctx, s.keys.record(""))
	if err != nil {
		return err
	}
	signs, err := s.names(ctx, s.keys.alive("")) // nodes that began meanwhile have no record above
	if err != nil {
		return err
	}
	for node := range gone {
		if records[node] == 0 || signs[node] != 0 {
			delete(gone, node)
		}
	}
	for node, revision := range records {
		if signs[node] != 0 {
			continue
		}
		was := gone[node]
		if was.record != revision { // it is seen for the first time, or the node has written
			gone[node] = absence{now, revision}
			continue
		}
		if now.Sub(was.since) < sweepAfter {
			continue
		}
		record := s.keys.record(node)
		_, err := s.client.Txn(ctx).If(
			clientv3.Compare(clientv3.ModRevision(record), "=", revision),
			clientv3.Compare(clientv3.CreateRevision(s.keys.alive(node)), "=", 0),
		).Then(clientv3.OpDelete(record)).Commit()
		if err != nil {
			return err
		}
	}
	return nil
}

// names returns the suffixes of the keys after a prefix, with the revision of etcd at which each was written.
func (s *session) names(ctx context.Context, prefix string) (map[string]int64, error) {
	at := prefixed(prefix)
	got, err := s.client.Get(ctx, at.from, clientv3.WithRange(at.end), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	all := make(map[string]int64, len(got.Kvs))
	for _, kv := range got.Kvs {
		all[strings.TrimPrefix(string(kv.Key), prefix)] = kv.ModRevision
	}
	return all, nil
}
