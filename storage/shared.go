package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// SharedLayer is a persistent layer whose content several stores share, each on a node of its own, and whose order of
// changes is made elsewhere: by a distributed engine. The memory of each store is a mirror of that content. The store
// proposes its changes, follows the order in which they and all others come, and applies that order: so its
// readers, watchers and subscriptions see it and no other, and a write returns once its own store has applied it.
//
// Such a store always has its objects in memory. All methods may be called from any number of goroutines. A
// context that ends ends a call at once, with its error.
type SharedLayer interface {
	EmbeddedLayer
	// Mirror yields all objects as of one revision, which is that of the last transaction in them.
	Mirror(ctx context.Context) (revision uint64, objects iter.Seq2[meta.Object, error], err error)
	// Follow yields the transactions behind a revision in their order, each whole and once, without a gap, those of this
	// store included, and waits for more. It ends with an error: ErrHistoryGone where the engine no longer has what comes
	// next, ErrUndecodable where that cannot be read, and any other for a connection that was lost, after which it may be called again.
	Follow(ctx context.Context, revision uint64) iter.Seq2[SharedCommit, error]
	// Propose asks for a transaction, all or nothing, and returns the revision of its first change once it has its
	// place in the order. An error always means that nothing of it is in the order, or ever will be: where a
	// connection is lost in the middle, Propose finds out before it returns. The errors are
	//
	//   - *GuardError: a guard does not hold;
	//   - *EntryError: one change is refused, because it is too large, say; or, with an Index of -1, all of them together;
	//   - ErrUnavailable: the engine cannot be reached, or has no quorum;
	//   - ErrWritesStopped: the outcome is open, and can never be found out: the store takes no more writes until it is started again;
	//   - the context's, after which the outcome is open.
	Propose(ctx context.Context, t *SharedTransaction) (first uint64, err error)
	// Barrier returns a revision that every transaction which was in the order before the call is at or below.
	Barrier(ctx context.Context) (revision uint64, err error)
	// Acquire takes the lock of a path for a time, on behalf of a lease: behind those of all nodes who came before, or
	// ErrLocked at once where it does not wait. It lasts for at least ttl from when it returns, unless it is renewed, and is gone
	// by itself some seconds after its end.
	Acquire(ctx context.Context, path string, ttl time.Duration, wait bool) (SharedLock, error)
	// Limits are those of one transaction. They do not change between Start and Close.
	Limits() SharedLimits
	// Elected reports whether this store is the one, among those that share the content, that removes what is expired.
	// For short times none may be, or two.
	Elected() bool
}

// SharedLock is a lock that one store holds among those that share the content.
type SharedLock interface {
	// Token grows with each lock that is taken, of any path and on any node.
	Token() uint64
	// Renew makes the lock last for at least ttl from now on. It is ErrLeaseLost where it is lost.
	Renew(ctx context.Context, ttl time.Duration) error
	// Release gives it up.
	Release(ctx context.Context) error
}

// SharedLimits are what one transaction may hold.
type SharedLimits struct {
	// Changes is the number of changes, and Bytes that of the data in them.
	Changes, Bytes int
}

// SharedTransaction is what a store proposes. The i-th change has revision first+i.
type SharedTransaction struct {
	Changes []SharedChange
	Guards  []Guard
	// Base is the revision up to which the proposing store had applied the order.
	Base uint64
}

// SharedChange is one change of a transaction: a put of Object at Key, a delete of Key, a delete of all that
// matches Pattern, or one of everything.
type SharedChange struct {
	Key     string
	Object  *meta.Object // to be put; nil for deletes. Its Revision is the layer's business.
	Pattern string
	Clear   bool
	// Gone are the keys that a Pattern or Clear removes. In a proposal they are what there was at Base: the layer removes
	// what there is when the change has its place in the order, and nothing else. In a commit they are what was removed.
	Gone []string
	// Reason is why a delete removes; ReasonNone for a put.
	Reason Reason
	// Silent says that nobody is told of a delete.
	Silent bool
	// More says that the next change is of the same batch.
	More bool
	// Stamped says that the last of the times of Object, Updated or else Created, is of the proposing store's clock, and no caller's.
	Stamped bool
	// Revision is the place of the change in the order; set in commits.
	Revision uint64
}

// Guard is a condition of a transaction.
type Guard struct {
	// Path must hold an object of exactly this Revision; none for 0.
	Path string
	// Directory, instead of Path, is a directory ("" for the top) in which no object may have been put behind Revision.
	Directory string
	// OfDirectory tells which of both it is.
	OfDirectory bool
	Revision    uint64
	// Lock, instead of both, is one of the layer's that must be held.
	Lock SharedLock
}

// SharedCommit is a transaction in its place in the order, or, without changes, only a place in it.
type SharedCommit struct {
	// Revision is one up to which everything was delivered: that of the last change, or a later one.
	Revision uint64
	Changes  []SharedChange
}

// GuardError is what Propose returns when a guard does not hold. The transaction is to be made anew once everything up to
// Revision is applied.
type GuardError struct {
	// Revision is one at which the guard did not hold.
	Revision uint64
	// Lost is the Lock of the guard, if it is that of a lock; nil else.
	Lost SharedLock
}

func (e *GuardError) Error() string {
	return fmt.Sprintf("storage: a guard of the transaction does not hold at revision %d", e.Revision)
}

var (
	// ErrUnavailable is returned by writes to a store over a SharedLayer that cannot reach the engine, or that has no
	// quorum. Nothing was written. Reads go on; the store catches up by itself.
	ErrUnavailable = errors.New("storage: the shared engine cannot be reached or has no quorum; try again")
	// ErrStale is returned by reads of a store over a SharedLayer that has not heard of the engine for longer than
	// Options.MaxStaleness.
	ErrStale = errors.New("storage: what this node holds is older than MaxStaleness allows")
	// ErrHistoryGone is what SharedLayer.Follow ends with where the engine no longer has the transactions that come next.
	ErrHistoryGone = errors.New("storage: the shared engine no longer has the changes that follow")
)
