package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/storage"
)

// How an unknown outcome is determined.
//
// Each transaction of a node writes the record of the node, and requires that the record is as the previous one left
// it. A transaction whose answer was lost therefore took place exactly if the record has its ID. If it did not, the
// node writes the record again, the fence, which makes sure that it never will: anything still in progress requires a
// record that no longer exists.
//
// A cluster that is out of space accepts no fence that puts something, but accepts deletes. The fence then removes
// the record. The next transaction finds it absent and creates it again first. No transaction ever requires that the
// record is absent, so a late one cannot succeed.
//
// If somebody else removed or changed the record of a transaction whose answer was lost, the outcome cannot be
// determined: the store stops its writes, with the reason. sweep does so only to nodes that have been gone for
// sweepAfter.

const (
	settlePause = 50 * time.Millisecond
	// question is the maximum duration of a query for an outcome.
	question = time.Second
)

// recorded is the record of this node in etcd.
type recorded struct {
	revision int64 // 0 for none
	record   record
}

func (s *session) recordAt(ctx context.Context) (r recorded, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(question, s.options.RequestTimeout))
	defer cancel()
	name := s.keys.record(s.node)
	got, err := s.client.Get(ctx, name)
	if err != nil || len(got.Kvs) == 0 {
		return r, err
	}
	r.revision = got.Kvs[0].ModRevision
	if r.record, err = decodeRecord(name, got.Kvs[0].Value); err != nil {
		r.record, err = record{ID: ^uint64(0)}, nil // that of no transaction
	}
	return r, err
}

// settle determines whether the last transaction took place. If it did not, settle makes sure that it never will,
// unless answered says that etcd's answer excludes a transaction in progress. It tries for as long as that takes.
func (s *session) settle(ctx context.Context, answered bool) (took bool, err error) {
	full, removed := false, false // the cluster is out of space; a fence removes the record
	for {
		now, err := s.recordAt(ctx)
		switch {
		case err != nil:
		case now.revision != s.known && now.record.ID == s.last && now.revision != 0:
			s.known = now.revision
			return true, nil
		case now.revision != s.known && now.record.ID == s.last-1 && now.revision != 0:
			s.known = now.revision // by a fence whose answer was lost
			return false, nil
		case now.revision == 0 && removed:
			s.known = 0 // by such a fence; before it the record was in its state before the transaction
			return false, nil
		case now.revision != s.known:
			return false, fmt.Errorf("%w, somebody else changed the record %q of this node in etcd while the answer to a transaction was lost",
				storage.ErrWritesStopped, s.keys.record(s.node))
		case answered:
			return false, nil
		default:
			removed = removed || full
			fenced, err := s.fence(ctx, full)
			if err == nil && fenced {
				return false, nil
			}
			full = full || errors.Is(err, rpctypes.ErrNoSpace)
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return false, ctx.Err()
		case <-s.ctx.Done():
			return false, storage.ErrNotActive
		}
	}
}

// fence rewrites the record of this node, unless it was written meanwhile; if there is no space, fence removes it.
func (s *session) fence(ctx context.Context, full bool) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(question, s.options.RequestTimeout))
	defer cancel()
	name := s.keys.record(s.node)
	op := clientv3.OpPut(name, record{ID: s.last - 1}.encoded())
	if full {
		op = clientv3.OpDelete(name)
	}
	response, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(name), "=", s.known)).Then(op).Commit()
	if err != nil || !response.Succeeded {
		return false, err
	}
	s.known = response.Header.Revision
	if full {
		s.known = 0
	}
	return true, nil
}

// enroll creates the record of this node, or adopts the existing one. No transaction may be in progress.
func (s *session) enroll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(attempt, s.options.RequestTimeout))
	defer cancel()
	name := s.keys.record(s.node)
	// It requires that there is none, so an attempt whose answer was lost does not change a later record.
	done, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(name), "=", 0)).
		Then(clientv3.OpPut(name, record{ID: s.last - 1}.encoded())).Commit()
	if err != nil {
		return err
	}
	if done.Succeeded {
		s.known = done.Header.Revision
		return nil
	}
	there, err := s.recordAt(ctx)
	if err == nil && there.revision == 0 { // it was removed in between
		err = storage.ErrUnavailable
	}
	s.known = there.revision
	return err
}
