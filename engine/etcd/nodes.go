package etcd

import (
	"context"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Each node has a record, which settles its outcomes, and a key that is bound to a lease: a sign of life. A node that ends takes both
// away. The record of one that crashed is removed by the elected node, once there was no sign of life for sweepAfter.
//
// A node that is only cut off for so long loses its record as well. It makes it anew, and nothing is lost by that but one
// thing: where the answer to a transaction was lost as the node was cut off, its outcome cannot be found out any more. The store of that node stops
// its writes then, as settle says, and is to be started again.

const (
	// aliveTTL is how long the sign of life of a node stays that crashed, in seconds.
	aliveTTL = 15
	// alivePause is how long a node waits whose sign of life could not be made.
	alivePause = 5 * time.Second
	// sweepPause is how often the elected node looks for nodes that are gone.
	sweepPause = time.Minute
	// sweepAfter is for how long they must be gone: much longer than a network is cut.
	sweepAfter = time.Hour
)

// live gives signs of life until Close.
func (s *session) live() {
	for s.ctx.Err() == nil {
		s.liveOnce()
		select {
		case <-time.After(alivePause):
		case <-s.ctx.Done():
		}
	}
}

// liveOnce gives signs of life for as long as etcd takes them.
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

// absence is that of the signs of life of a node.
type absence struct {
	since  time.Time
	record int64 // etcd's revision of its record
}

// sweep removes the records of nodes that are gone, and wrote nothing, for sweepAfter. It keeps since when, between calls.
func (s *session) sweep(gone map[string]absence, now time.Time) error {
	ctx, cancel := s.timeout()
	defer cancel()
	records, err := s.names(ctx, s.keys.record(""))
	if err != nil {
		return err
	}
	signs, err := s.names(ctx, s.keys.alive("")) // those of nodes that began meanwhile have no record above
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
		if was.record != revision { // it is seen for the first time, or wrote
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

// names are what follows a prefix in keys, with the revision of etcd at which each was written.
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
