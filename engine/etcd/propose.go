package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Etcd takes 128 operations in a transaction by default (--max-txn-ops), counted as the longest of its lists at each
// level: what it has left at one level is what the next has. So many operations go into transactions within the
// transaction, and where there are too many guards for one level a single one takes their place: that no transaction of any node came
// between.
const (
	maxGuards   = 60 // and operations, in one level
	nestedOps   = 60
	maxChanges  = nestedOps * nestedOps
	settlePause = 50 * time.Millisecond
	// attempt is how long one request for a transaction may take before its outcome is asked for: a member that lost its leader
	// says so late, if at all.
	attempt = 1500 * time.Millisecond
	// question is how long such a question may take.
	question = time.Second
)

// Limits are those of one transaction.
func (l *Layer) Limits() storage.SharedLimits {
	return storage.SharedLimits{Changes: maxChanges, Bytes: l.options.MaxRequest}
}

// Propose asks for a transaction.
func (l *Layer) Propose(ctx context.Context, t *storage.SharedTransaction) (first uint64, err error) {
	s, err := l.active()
	if err != nil {
		return 0, err
	}
	if s.options.ReadOnly {
		return 0, storage.ErrReadOnly
	}
	s.proposing.Lock()
	defer s.proposing.Unlock()
	if s.ctx.Err() != nil {
		return 0, storage.ErrNotActive
	}
	s.last++
	guards, ops, err := s.plan(t)
	if err != nil {
		return 0, err
	}
	rec := recordOf(s.last, t).encoded()
	if s.client.ActiveConnection().GetState() == connectivity.TransientFailure {
		return 0, storage.ErrUnavailable // nothing need be sent to know that nothing arrives
	}
	revision, held, err := s.try(ctx, rec, guards, ops)
	switch {
	case err == nil && held:
		s.known = revision
		return revisionOf(revision, 0), nil
	case err == nil:
		return 0, s.guardFailed(ctx, revision, t)
	case refused(err):
		return 0, s.refusal(err, t)
	}
	// The outcome is open. A cluster that is out of space has answered, and takes no fence: it says so of the transaction that
	// crosses the line, too, which took place.
	took, lost := s.settle(ctx, !errors.Is(err, rpctypes.ErrNoSpace))
	switch {
	case lost != nil:
		return 0, lost
	case took:
		return revisionOf(s.known, 0), nil
	}
	return 0, s.refusal(err, t)
}

// guardFailed is the error for a transaction whose guards did not hold at a revision of etcd, once Follow has come so far.
func (s *session) guardFailed(ctx context.Context, revision int64, t *storage.SharedTransaction) error {
	now, err := s.recordAt(ctx)
	if err != nil {
		return s.explain(err)
	}
	if now.revision != s.known {
		return s.recover(ctx, now)
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.RequestTimeout)
	defer cancel()
	if err := s.reach(ctx, revision); err != nil {
		return s.explain(err)
	}
	failed := &storage.GuardError{Revision: whole(revision)}
	for _, g := range t.Guards {
		if k, ok := g.Lock.(*lock); ok {
			held, err := s.client.Txn(ctx).If(k.held()).Commit()
			if err != nil {
				return s.explain(err)
			}
			if !held.Succeeded {
				failed.Lost = g.Lock
			}
		}
	}
	return failed
}

// recover takes up the record of this node as somebody else left it, and returns the error for the transaction under way.
func (s *session) recover(ctx context.Context, now recorded) error {
	name := s.keys.record(s.node)
	ctx, cancel := context.WithTimeout(ctx, s.options.RequestTimeout)
	defer cancel()
	response, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(name), "=", now.revision)).
		Then(clientv3.OpPut(name, record{ID: s.last}.encoded())).Commit()
	if err == nil && response.Succeeded {
		s.known = response.Header.Revision
	}
	return fmt.Errorf("%w: etcd: somebody else changed the record %q of this node", storage.ErrUnavailable, name)
}

// try makes one attempt. It returns etcd's revision and whether the guards held.
func (s *session) try(ctx context.Context, rec string, guards []clientv3.Cmp, ops []clientv3.Op) (revision int64, held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(attempt, s.options.RequestTimeout))
	defer cancel()
	mine := clientv3.Compare(clientv3.ModRevision(s.keys.record(s.node)), "=", s.known)
	all := append([]clientv3.Op{clientv3.OpPut(s.keys.record(s.node), rec), clientv3.OpPut(s.keys.fence(), "")}, ops...)
	response, err := s.client.Txn(ctx).If(append(guards[:len(guards):len(guards)], mine)...).Then(all...).Commit()
	if err != nil {
		return 0, false, err
	}
	return response.Header.Revision, response.Succeeded, nil
}

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
	r.record, err = decodeRecord(name, got.Kvs[0].Value)
	return r, err
}

// settle finds out, where the answer is not there yet by a fence, whether the last transaction took place, and makes sure that it does not if it did not: the record of
// the node is written once more, and the transaction, should it still be on its way, finds another one than it demands. It
// tries for as long as that takes.
func (s *session) settle(ctx context.Context, fence bool) (took bool, err error) {
	for {
		now, err := s.recordAt(ctx)
		switch {
		case err != nil:
		case now.revision != s.known && now.record.ID == s.last:
			s.known = now.revision
			return true, nil
		case now.revision != s.known && now.record.ID == s.last-1 && now.revision != 0:
			s.known = now.revision // a fence whose answer was lost
			return false, nil
		case now.revision != s.known:
			return false, s.recover(ctx, now)
		case !fence:
			return false, nil
		default:
			if fenced, err := s.fence(ctx); err == nil && fenced {
				return false, nil
			}
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

// fence writes the record of this node anew, unless it was written meanwhile.
func (s *session) fence(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(question, s.options.RequestTimeout))
	defer cancel()
	name := s.keys.record(s.node)
	response, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(name), "=", s.known)).
		Then(clientv3.OpPut(name, record{ID: s.last - 1}.encoded())).Commit()
	if err != nil || !response.Succeeded {
		return false, err
	}
	s.known = response.Header.Revision
	return true, nil
}

// plan makes the guards and operations of a transaction.
func (s *session) plan(t *storage.SharedTransaction) (guards []clientv3.Cmp, ops []clientv3.Op, err error) {
	exclusive := len(t.Guards) > maxGuards
	for i, c := range t.Changes {
		switch {
		case c.Clear || c.Pattern != "":
			spans := s.keys.spans(c.Pattern)
			if spans == nil {
				exclusive = true
				for _, path := range c.Gone {
					ops = append(ops, clientv3.OpDelete(s.keys.object(path)))
				}
			}
			for _, at := range spans {
				ops = append(ops, clientv3.OpDelete(at.from, clientv3.WithRange(at.end)))
			}
		case c.Object == nil:
			ops = append(ops, clientv3.OpDelete(s.keys.object(c.Key)))
		default:
			if err := enginekit.CheckPut(c.Key, c.Object, s.options.MaxRequest); err != nil {
				return nil, nil, &storage.EntryError{Index: i, Err: err}
			}
			obj := *c.Object
			obj.Revision = uint64(i)
			ops = append(ops, clientv3.OpPut(s.keys.object(c.Key), string(enginekit.AppendObject(nil, c.Key, &obj))))
		}
	}
	if len(ops) > maxChanges {
		return nil, nil, &storage.EntryError{Index: -1, Err: fmt.Errorf("%d keys, etcd takes at most %d in a transaction: delete a directory as a whole, or in parts", len(ops), maxChanges)}
	}
	if exclusive {
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(s.keys.fence()), "<", etcdRevision(t.Base)+1))
	}
	for _, g := range t.Guards {
		if k, ok := g.Lock.(*lock); ok {
			guards = append(guards, k.held())
		} else if !exclusive {
			guards = append(guards, s.guard(g))
		}
	}
	return guards, nested(ops), nil
}

func (s *session) guard(g storage.Guard) clientv3.Cmp {
	if g.OfDirectory {
		at := prefixed(s.keys.directory(g.Directory))
		return clientv3.Compare(clientv3.ModRevision(at.from).WithRange(at.end), "<", etcdRevision(g.Revision)+1)
	}
	return clientv3.Compare(clientv3.ModRevision(s.keys.object(g.Path)), "=", etcdRevision(g.Revision))
}

// nested puts operations into transactions within the transaction where there are too many for one.
func nested(ops []clientv3.Op) []clientv3.Op {
	if len(ops) <= maxGuards {
		return ops
	}
	var outer []clientv3.Op
	for len(ops) > 0 {
		n := min(len(ops), nestedOps)
		outer = append(outer, clientv3.OpTxn(nil, ops[:n:n], nil))
		ops = ops[n:]
	}
	return outer
}

// unreachable reports whether an error says nothing but that the cluster did not answer as it should.
func unreachable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, clientv3.ErrNoAvailableEndpoints) {
		return true
	}
	code := status.Code(err)
	var etcd rpctypes.EtcdError
	if errors.As(err, &etcd) {
		code = etcd.Code()
	}
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

// refused reports whether an error says that a transaction did not take place, and will not.
func refused(err error) bool {
	var etcd rpctypes.EtcdError
	if !errors.As(err, &etcd) || errors.Is(err, rpctypes.ErrNoSpace) {
		return false
	}
	switch etcd.Code() {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted, codes.FailedPrecondition:
		return true
	}
	return false
}

// refusal is the error for a transaction that etcd does not take.
func (s *session) refusal(err error, t *storage.SharedTransaction) error {
	// Of a message that is larger than gRPC takes it says so itself, in a code that etcd uses for other things.
	var etcd rpctypes.EtcdError
	large := status.Code(err) == codes.ResourceExhausted && !errors.As(err, &etcd)
	if large || errors.Is(err, rpctypes.ErrRequestTooLarge) || errors.Is(err, rpctypes.ErrTooManyOps) {
		err = fmt.Errorf("etcd: the transaction of %d changes is too large for the cluster: raise its --max-request-bytes and --max-txn-ops, or lower the option max-request: %w",
			len(t.Changes), err)
		return &storage.EntryError{Index: -1, Err: err}
	}
	if err = s.explain(err); errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrNotActive) {
		return err
	}
	return fmt.Errorf("%w: etcd: %w", storage.ErrUnavailable, err)
}
