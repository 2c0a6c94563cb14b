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
)

// By default, etcd accepts 128 operations in a transaction (--max-txn-ops), counted as the longest of its lists at
// each level: what is left of the limit at one level is the limit of the next. Many operations therefore go into
// transactions within the transaction. If there are too many guards for one level, a single guard replaces them: no
// transaction of any node came between.
const (
	maxGuards  = 60 // limit of guards and of operations in one level
	nestedOps  = 60
	maxChanges = nestedOps * nestedOps
	// attempt is the maximum duration of one request for a transaction before its outcome is queried: a member that
	// has lost its leader reports that late, if at all.
	attempt = 1500 * time.Millisecond
	// requestSlack is how far etcd's limit of a request exceeds the limit of the data in it.
	requestSlack = 1 << 18
)

// Limits returns the limits of one transaction.
func (l *Layer) Limits() storage.SharedLimits {
	return storage.SharedLimits{Changes: maxChanges, Bytes: l.options.MaxRequest}
}

// Propose proposes a transaction.
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
	rec := recordOf(s.last, t).encoded()
	guards, ops, err := s.plan(t, len(rec))
	if err != nil {
		return 0, err
	}
	if s.client.ActiveConnection().GetState() == connectivity.TransientFailure {
		return 0, storage.ErrUnavailable // the engine is known to be unreachable without sending anything
	}
	if s.known == 0 {
		if err := s.enroll(ctx); err != nil {
			return 0, s.refusal(err, t) // nothing of the transaction is in progress
		}
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
	// The outcome is unknown. A cluster that is out of space has answered, but it gives the same answer to the
	// transaction that crosses the limit, which took place.
	took, lost := s.settle(ctx, errors.Is(err, rpctypes.ErrNoSpace))
	switch {
	case lost != nil:
		return 0, lost
	case took:
		return revisionOf(s.known, 0), nil
	}
	return 0, s.refusal(err, t)
}

// guardFailed returns the error of a transaction whose guards failed at a revision of etcd, once Follow has reached
// it.
func (s *session) guardFailed(ctx context.Context, revision int64, t *storage.SharedTransaction) error {
	now, err := s.recordAt(ctx)
	if err != nil {
		return s.explain(err)
	}
	if now.revision != s.known { // removed by another node, as sweep does if this one seemed gone: create it anew
		s.known = 0
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

// try makes one attempt. It returns etcd's revision and whether the guards were true.
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

// unreachable reports whether an error only says that the cluster did not answer properly.
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

// refused reports whether an error says that a transaction did not take place, and never will.
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

// refusal returns the error of a transaction that etcd rejects.
func (s *session) refusal(err error, t *storage.SharedTransaction) error {
	// gRPC itself rejects messages above its limit, with a code that etcd uses for other errors.
	var etcd rpctypes.EtcdError
	large := status.Code(err) == codes.ResourceExhausted && !errors.As(err, &etcd)
	if large || errors.Is(err, rpctypes.ErrRequestTooLarge) || errors.Is(err, rpctypes.ErrTooManyOps) {
		err = fmt.Errorf("etcd: the transaction of %d changes is too large for the cluster; raise its --max-request-bytes and --max-txn-ops, or lower the option max-request: %w",
			len(t.Changes), err)
		return &storage.EntryError{Index: -1, Err: err}
	}
	if err = s.explain(err); errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrNotActive) {
		return err
	}
	return fmt.Errorf("%w, %w", storage.ErrUnavailable, err)
}
