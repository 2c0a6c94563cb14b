package storage

import (
	"context"
	"errors"
	"fmt"
)

// The errors of the package. A returned error wraps one of them with the operation and
// the path that it concerns: compare with errors.Is.
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

	// ErrLockOwned is returned by Unlock and SetAndUnlock of a path that a Lease holds.
	ErrLockOwned = errors.New("storage: a lease holds the lock, only its owner can release it")
	// ErrLocked is returned by TryAcquire of a path that another holds.
	ErrLocked = errors.New("storage: another holds the lock")
	// ErrLeaseLost is returned by Release and Renew of a Lease that has ended, and by a write that is bound to one.
	ErrLeaseLost = errors.New("storage: the lease holds its lock no more")
	// ErrActive is returned by Start of a store or layer that is active already.
	ErrActive = errors.New("storage: storage is already active")
	// ErrTwoPersistentLayers is returned by Start when a LayeredConfig sets both
	// Persistent and Embedded, which are two names of one layer.
	ErrTwoPersistentLayers = errors.New("storage: both Persistent and Embedded are set, expected one of them")
	// ErrConflict is what a *ConflictError is: a condition of a write did not hold.
	ErrConflict = errors.New("storage: conflict, the object is not what the write expects")
	// ErrDuplicateKey is returned for a batch in which two changes name one key.
	ErrDuplicateKey = errors.New("storage: two changes of a batch name one key")
	// ErrBatchUnsupported is returned for what needs a persistent layer with atomic batches
	// (Batcher) on one that has none.
	ErrBatchUnsupported = errors.New("storage: the persistent layer has no atomic batches")
	// ErrInvalidOptions is returned for options that contradict each other.
	ErrInvalidOptions = errors.New("storage: invalid options")
	// ErrInvalidTTL is returned for a time to live that is negative or no time.
	ErrInvalidTTL = errors.New("storage: invalid time to live")
	// ErrLagged ends a subscription that must not miss a change and fell too far behind.
	ErrLagged = errors.New("storage: the subscription fell too far behind")
	// ErrFutureRevision is returned for a revision that the store has not reached.
	ErrFutureRevision = errors.New("storage: the revision is in the future of this store")
	// ErrSubscriptionClosed is returned by Next of a subscription after its Close.
	ErrSubscriptionClosed = errors.New("storage: the subscription is closed")
	// ErrSnapshotClosed ends a loop over a snapshot that was closed meanwhile.
	ErrSnapshotClosed = errors.New("storage: the snapshot is closed")
	// ErrInvalidCursor is returned for a cursor that is no cursor, or one of another list.
	ErrInvalidCursor = errors.New("storage: invalid cursor")
	// ErrIncomplete is returned by Start of a layer that holds only a part: a copy or a
	// restore into it did not end.
	ErrIncomplete = errors.New("storage: the store is incomplete: what filled it did not end; run it again")
	// ErrUndecodable is what a layer returns for a key whose entry is there and is no object: other software wrote
	// it, or it is damaged. Set and Del of exactly that key, without a condition, replace and remove it. Over a
	// SharedLayer it is mended in the shared engine.
	ErrUndecodable = errors.New("storage: the entry is no object")
	// ErrInUse is returned by Start of a layer whose files another store has open, in this process or another one.
	ErrInUse = errors.New("storage: another store has the files open")
	// ErrReadOnly is returned by every write to a store, or a layer, that is open to read only.
	ErrReadOnly = errors.New("storage: the store is open to read only")
	// ErrWritesStopped is returned by every write after a commit of the persistent layer
	// failed in a way that leaves open whether the layer kept it. Reads go on. Closing
	// and starting the store again reads the truth back from the layer.
	ErrWritesStopped = errors.New("storage: writes are stopped after a failed commit; close and start the store again")
)

// EntryError is what a Batcher returns when it refuses a single change, because it is
// too large for the engine, say. It promises that nothing of the batch was written: the
// store fails that change's caller and commits the others again without it.
type EntryError struct {
	// Index is the place of the refused change in the batch. A SharedLayer that refuses all together says -1.
	Index int
	// Err says why.
	Err error
}

func (e *EntryError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("the changes are refused: %v", e.Err)
	}
	return fmt.Sprintf("change %d refused: %v", e.Index, e.Err)
}

func (e *EntryError) Unwrap() error { return e.Err }

// ConflictError says that a condition of a write did not hold. errors.Is(err, ErrConflict)
// holds for it.
type ConflictError struct {
	// Path is the key that it concerns.
	Path string
	// Expected is the revision that the write demanded; 0 for absence.
	Expected uint64
	// Current is the revision of the object that is there; 0 for none.
	Current uint64
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("storage: conflict at %q: expected %s, found %s", e.Path, asRevision(e.Expected), asRevision(e.Current))
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

func asRevision(revision uint64) string {
	if revision == 0 {
		return "no object"
	}
	return fmt.Sprintf("revision %d", revision)
}

// errorIsNothing reports whether a removal found nothing to remove.
func errorIsNothing(err error) bool { return err == nil || errors.Is(err, ErrNotFound) }

// checkContext returns the error of a context that has ended, or that there is none.
func checkContext(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("%w: the context is nil, expected one such as context.Background()", ErrInvalidOptions)
	}
	return ctx.Err()
}
