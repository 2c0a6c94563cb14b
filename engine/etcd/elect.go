package etcd

import (
	"context"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// electionTTL is how long a node that is gone stays elected, in seconds.
	electionTTL = 3
	// electionPause is the interval at which the other nodes try to be elected.
	electionPause = 500 * time.Millisecond
)

// elect tries until Close to make this node the one that removes expired objects, whenever there is none.
func (s *session) elect() {
	for s.ctx.Err() == nil {
		s.serve()
		select {
		case <-time.After(electionPause):
		case <-s.ctx.Done():
		}
	}
}

// serve tries once. It returns when the node is not elected, or no longer elected.
func (s *session) serve() {
	ctx, cancel := s.timeout()
	defer cancel()
	holder, err := s.client.Get(ctx, s.keys.elected())
	if err != nil || len(holder.Kvs) > 0 {
		return
	}
	lease, err := s.client.Grant(ctx, electionTTL)
	if err != nil {
		return
	}
	defer s.revoke(lease.ID)
	won, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(s.keys.elected()), "=", 0)).
		Then(clientv3.OpPut(s.keys.elected(), s.node, clientv3.WithLease(lease.ID))).Commit()
	if err != nil || !won.Succeeded {
		return
	}
	alive, err := s.client.KeepAlive(s.ctx, lease.ID)
	if err != nil {
		return
	}
	s.elected.Store(true)
	defer s.elected.Store(false)
	silent := time.NewTimer(electionTTL * time.Second)
	defer silent.Stop()
	gone := make(map[string]absence)
	sweeping := time.NewTicker(sweepPause)
	defer sweeping.Stop()
	for {
		select {
		case <-sweeping.C:
			if err := s.sweep(gone, time.Now()); err != nil {
				s.options.Logger.Info("oolith: etcd: the records of nodes that are gone stay", slog.Any("error", explain(err)))
			}
		case _, ok := <-alive:
			if !ok {
				return
			}
			silent.Reset(electionTTL * time.Second)
		case <-silent.C:
			return // no answer: another node may be elected
		}
	}
}

func (s *session) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Second)
	defer cancel()
	_, _ = s.client.Revoke(ctx, lease) // it ends by itself
}
