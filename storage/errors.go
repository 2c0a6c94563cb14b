package storage

import (
	"context"
	"errors"
	"fmt"
)

// The errors of the package. Returned errors wrap one of them with the operation and the path. Compare with
// errors.Is.
var (
	ErrNotFound           = errors.New("storage: not found")
	ErrInvalidPath        = errors.New("storage: invalid path")
	ErrInvalidPattern     = errors.New("storage: invalid pattern, glob required")
	ErrInvalidRange       = errors.New("storage: invalid range")
	ErrInvalidLimit       = errors.New("storage: invalid limit")
	ErrInvalidStorageData = errors.New("storage: invalid data (empty)")
	ErrGlobNotAllowed     = errors.New("storage: glob pattern not allowed for this operation")
	ErrGlobRequired       = errors.New("storage: glob pattern required for this operation")
	ErrCantLockGlob       = errors.New("storage: can't lock a glob pattern path")
	ErrLockNotFound       = errors.New("storage: lock not found, can't unlock")
	ErrNoop               = errors.New("storage: no operation performed")
	ErrAllLayersNil       = errors.New("storage: all storage layers are nil")
	ErrNotActive          = errors.New("storage: storage is not active")

	// ErrLockOwned is returned by Unlock and SetAndUnlock for a path that a Lease holds.
	ErrLockOwned = errors.New("storage: a lease holds the lock, only its owner can release it")
	// ErrLocked is returned by TryAcquire for a path that another caller holds.
	ErrLocked = errors.New("storage: another caller holds the lock")
	// ErrLeaseLost is returned by Release and Renew of an ended Lease, and by a write that requires one.
	ErrLeaseLost = errors.New("storage: the lease has ended")
	// ErrActive is returned by Start of an active store or layer.
	ErrActive = errors.New("storage: storage is already active")
	// ErrTwoPersistentLayers is returned by Start if a LayeredConfig sets both Persistent and Embedded, which are two
	// names for the same layer.
	ErrTwoPersistentLayers = errors.New("storage: both Persistent and Embedded are set, expected one of them")
	// ErrConflict matches every *ConflictError: a condition of a write did not hold.
	ErrConflict = errors.New("storage: conflict, the object is not what the write expects")
	// ErrDuplicateKey is returned for a batch with two changes of the same key.
	ErrDuplicateKey = errors.New("storage: a batch changes the same key twice")
	// ErrBatchUnsupported is returned when a call needs atomic batches (Batcher) and the persistent layer has none.
	ErrBatchUnsupported = errors.New("storage: the persistent layer has no atomic batches")
	// ErrInvalidOptions is returned for options that contradict each other.
	ErrInvalidOptions = errors.New("storage: invalid options")
	// ErrInvalidTTL is returned for a time to live that is negative or out of range.
	ErrInvalidTTL = errors.New("storage: invalid time to live")
	// ErrLagged ends a subscription with LagError that fell too far behind.
	ErrLagged = errors.New("storage: the subscription fell too far behind")
	// ErrFutureRevision is returned for a revision that the store has not reached.
	ErrFutureRevision = errors.New("storage: the store has not reached this revision")
	// ErrSubscriptionClosed is returned by Next of a closed subscription.
	ErrSubscriptionClosed = errors.New("storage: the subscription is closed")
	// ErrSnapshotClosed ends a loop over a snapshot that is closed during the loop.
	ErrSnapshotClosed = errors.New("storage: the snapshot is closed")
	// ErrInvalidCursor is returned for a malformed cursor and for the cursor of another list.
	ErrInvalidCursor = errors.New("storage: invalid cursor")
	// ErrIncomplete is returned by Start of a layer with incomplete content: a copy or a restore into it was
	// interrupted.
	ErrIncomplete = errors.New("storage: the store is incomplete because a copy or a restore was interrupted; run it again")
	// ErrUndecodable is returned by a layer for an entry that is not an object, because it is damaged or because
	// other software wrote it. Set and Del of exactly that key, without a condition, replace and remove the entry.
	// Over a SharedLayer the entry is repaired in the shared engine.
	ErrUndecodable = errors.New("storage: the entry is not an object")
	// ErrInUse is returned by Start of a layer whose files are open in another store, in this process or in another
	// one.
	ErrInUse = errors.New("storage: the files are open in another store")
	// ErrReadOnly is returned by every write to a store or a layer that is open read-only.
	ErrReadOnly = errors.New("storage: the store is open read-only")
	// ErrWritesStopped is returned by every write after a failed commit whose outcome in the persistent layer is
	// unknown. Reads continue to work. Close and start the store again to read the actual state from the layer.
	ErrWritesStopped = errors.New("storage: writes are stopped after a failed commit; close and start the store again")
)

// EntryError is returned by a Batcher that rejects a single change, for example because it is too large for the
// engine. It guarantees that nothing of the batch was written. The store fails the caller of that change and commits
// the other changes again without it.
type EntryError struct {
	// Index is the position of the rejected change in the batch. A SharedLayer that rejects all changes sets it to
	// -1.
	Index int
	// Err is the reason.
	Err error
}

func (e *EntryError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("the changes are refused: %v", e.Err)
	}
	return fmt.Sprintf("change %d refused: %v", e.Index, e.Err)
}

func (e *EntryError) Unwrap() error { return e.Err }

// ConflictError reports that a condition of a write did not hold. It matches ErrConflict.
type ConflictError struct {
	// Path is the key of the write.
	Path string
	// Expected is the revision that the write required; 0 if it required that there is no object.
	Expected uint64
	// Current is the revision of the existing object; 0 if there is none.
	Current uint64
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("storage: conflict at %q, expected %s, found %s", e.Path, asRevision(e.Expected), asRevision(e.Current))
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

func asRevision(revision uint64) string {
	if revision == 0 {
		return "no object"
	}
	return fmt.Sprintf("revision %d", revision)
}

// errorIsNothing reports whether a delete succeeded or found nothing to delete.
func errorIsNothing(err error) bool { return err == nil || errors.Is(err, ErrNotFound) }

// checkContext returns the error of a context that has ended. A nil context is an error.
func checkContext(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("%w, the context is nil, expected one such as context.Background()", ErrInvalidOptions)
	}
	return ctx.Err()
}
