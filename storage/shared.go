package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// SharedLayer is a persistent layer that several stores share, each on its own node. A distributed engine orders the
// changes. The memory of each store mirrors the shared content. A store proposes its changes, follows the order of
// all changes, and applies it. Its readers, watchers and subscriptions see that order and no other, and a write
// returns once its own store has applied it.
//
// Such a store always keeps its objects in memory. All methods may be called concurrently. When a context ends, the
// call returns immediately with the context's error.
type SharedLayer interface {
	EmbeddedLayer
	// Mirror yields all objects as of one revision, the revision of the last transaction they include. The objects end
	// with ErrHistoryGone if the engine removes that revision before it has sent all of them; Mirror may be called again.
	Mirror(ctx context.Context) (revision uint64, objects iter.Seq2[meta.Object, error], err error)
	// Follow yields the transactions after a revision in order, each complete and exactly once, without a gap,
	// including those of this store. It waits for more. It ends with an error: ErrHistoryGone if the engine no longer
	// has the next transaction, ErrUndecodable if that cannot be read, or any other error for a lost connection,
	// after which Follow may be called again.
	Follow(ctx context.Context, revision uint64) iter.Seq2[SharedCommit, error]
	// Propose proposes a transaction, all or nothing. Once the transaction has its place in the order, Propose
	// returns the revision of its first change. An error always means that the transaction is not in the order and
	// never will be. If a connection is lost, Propose finds out the outcome before it returns. The errors are
	//
	//   - *GuardError: a guard does not hold;
	//   - *EntryError: the engine rejects one change, for example because it is too large, or all of them if Index is -1;
	//   - ErrUnavailable: the engine cannot be reached, or has no quorum;
	//   - ErrWritesStopped: the outcome can never be found out; the store takes no writes until it is started again;
	//   - the context's error; the outcome is then unknown.
	Propose(ctx context.Context, t *SharedTransaction) (first uint64, err error)
	// Barrier returns a revision that is at or above every transaction in the order before the call.
	Barrier(ctx context.Context) (revision uint64, err error)
	// Acquire takes the lock of a path for a lease. It waits behind earlier callers on all nodes, or returns
	// ErrLocked immediately if wait is false. The lock lasts for at least ttl after Acquire returns, unless it is
	// renewed, and ends by itself some seconds after that.
	Acquire(ctx context.Context, path string, ttl time.Duration, wait bool) (SharedLock, error)
	// Limits returns the limits of a transaction. They do not change between Start and Close.
	Limits() SharedLimits
	// Elected reports whether this store, among those that share the content, removes expired objects. For short
	// times no store or two stores may be elected.
	Elected() bool
}

// SharedLock is a lock that one of the stores that share a SharedLayer holds.
type SharedLock interface {
	// Token grows with each lock that is taken, for any path and on any node.
	Token() uint64
	// Renew extends the lock to at least ttl from now. It returns ErrLeaseLost if the lock is lost.
	Renew(ctx context.Context, ttl time.Duration) error
	// Release releases the lock.
	Release(ctx context.Context) error
}

// SharedLimits are the limits of a transaction.
type SharedLimits struct {
	// Changes is the maximum number of changes, Bytes the maximum size of their data.
	Changes, Bytes int
}

// SharedTransaction is a proposal of a store. The i-th change has revision first+i.
type SharedTransaction struct {
	Changes []SharedChange
	Guards  []Guard
	// Base is the revision up to which the proposing store has applied the order.
	Base uint64
}

// SharedChange is one change of a transaction: a put of Object at Key, a delete of Key, a delete of all keys that
// match Pattern, or a delete of everything.
type SharedChange struct {
	Key     string
	Object  *meta.Object // to put; nil for deletes. The layer sets its Revision
	Pattern string
	Clear   bool
	// Gone are the keys that a Pattern or Clear deletes. In a proposal they are the keys at Base. The layer deletes
	// exactly the keys that exist when the change takes its place in the order. In a commit they are the deleted
	// keys.
	Gone []string
	// Reason is why a delete happens; ReasonNone for a put.
	Reason Reason
	// Silent means that consumers do not receive a delete.
	Silent bool
	// More means that the next change belongs to the same batch.
	More bool
	// Stamped means that the last time of Object (Updated, or else Created) comes from the proposing store's clock,
	// not from a caller.
	Stamped bool
	// Revision is the position of the change in the order; set in commits.
	Revision uint64
}

// Guard is a condition of a transaction.
type Guard struct {
	// Path must hold an object with exactly this Revision, or no object if it is 0.
	Path string
	// Directory, used instead of Path, is a directory ("" for the top) to which no object was put after Revision.
	Directory string
	// OfDirectory selects Directory instead of Path.
	OfDirectory bool
	Revision    uint64
	// Lock, used instead of both, is a lock of the layer that must be held.
	Lock SharedLock
}

// SharedCommit is a transaction at its place in the order. Without changes it is only a position in the order.
type SharedCommit struct {
	// Revision is a revision up to which everything was delivered: that of the last change, or a later one.
	Revision uint64
	Changes  []SharedChange
}

// GuardError is returned by Propose if a guard does not hold. Build the transaction again once everything up to
// Revision is applied.
type GuardError struct {
	// Revision is a revision at which the guard did not hold.
	Revision uint64
	// Lost is the Lock of a failed lock guard; nil for other guards.
	Lost SharedLock
}

func (e *GuardError) Error() string {
	return fmt.Sprintf("storage: a guard of the transaction does not hold at revision %d", e.Revision)
}

var (
	// ErrUnavailable is returned by writes to a store over a SharedLayer if the engine cannot be reached or has no
	// quorum. Nothing was written. Reads continue to work, and the store catches up by itself.
	ErrUnavailable = errors.New("storage: the shared engine cannot be reached or has no quorum; try again")
	// ErrStale is returned by reads of a store over a SharedLayer that has not confirmed for longer than
	// Options.MaxStaleness that it is current.
	ErrStale = errors.New("storage: the data of this node is older than MaxStaleness allows")
	// ErrHistoryGone ends SharedLayer.Follow if the engine no longer has the next transactions.
	ErrHistoryGone = errors.New("storage: the shared engine no longer has the changes that follow")
)
