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

// How an outcome is found out that is not known.
//
// Each transaction of a node writes the record of the node, and demands that the record is as the one before left it. So a
// transaction whose answer was lost took place exactly if the record has its ID. And if it has not, a write of the record by
// the node, the fence, makes sure that it never will: whatever is still under way demands a record that is no more.
//
// A cluster that is out of space takes no fence that puts something, but it takes deletes: there the fence removes the record, which the next
// transaction finds absent and has made anew first. No transaction ever demands that the record is absent, so a late one finds no
// gap.
//
// Where somebody else removed or changed the record of a transaction whose answer was lost, nobody can know: the store stops its
// writes, and says why. sweep does so only to nodes that were gone for sweepAfter.

const (
	settlePause = 50 * time.Millisecond
	// question is how long a question for an outcome may take.
	question = time.Second
)

// recorded is the record of this node as etcd has it.
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

// settle finds out whether the last transaction took place, and makes sure that it does not if it did not, unless etcd answered so that
// nothing can be under way. It tries for as long as that takes.
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
			s.known = now.revision // a fence whose answer was lost
			return false, nil
		case now.revision == 0 && removed:
			s.known = 0 // by such a fence, before which the record was as it was before the transaction
			return false, nil
		case now.revision != s.known:
			return false, fmt.Errorf("%w: etcd: somebody else changed the record %q of this node while the answer to a transaction was lost",
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

// fence writes the record of this node anew, unless it was written meanwhile; or removes it where there is no room.
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

// enroll makes the record of this node, or takes up the one that is there. No transaction may be under way.
func (s *session) enroll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(attempt, s.options.RequestTimeout))
	defer cancel()
	name := s.keys.record(s.node)
	// It demands that there is none, so that one whose answer was lost changes no later one.
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
	s.known = there.revision
	return err
}
