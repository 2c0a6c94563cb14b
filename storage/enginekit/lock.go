package enginekit

import (
	"errors"
	"fmt"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// errInUse reports that another store has the place open. It is storage.ErrInUse, in words that fit into a sentence.
var errInUse error = inUse{}

type inUse struct{}

func (inUse) Error() string        { return "in use" }
func (inUse) Is(target error) bool { return target == storage.ErrInUse }

const (
	// lockPatience is how long Locked waits for a held lock. A program that starts another one briefly holds each of
	// its locks twice: the new process has the descriptors of the old one until it executes its own program. If a store
	// is closed, or a process killed, during this time, the lock remains held.
	lockPatience = 500 * time.Millisecond
	lockPause    = 5 * time.Millisecond
)

// Holder says who holds a lock that was not granted.
type Holder int

const (
	Nobody   Holder = iota // another error
	Here                   // another store of this process: waiting is useless
	Anywhere               // another process, or another store of this one
)

// Locked takes a lock with try, and retries briefly while the error says that it is held anywhere. The error of a held
// lock begins with what, for example "the directory", and contains the last error of try.
func Locked[L any](what string, try func() (L, error), holder func(error) Holder) (L, error) {
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockPause) {
		lock, err := try()
		if err == nil {
			return lock, nil
		}
		switch by := holder(err); {
		case by == Nobody:
			return lock, err
		case by == Here:
			return lock, fmt.Errorf("%s is %w by another store of this process; close that first: %w", what, errInUse, err)
		case time.Now().After(end):
			return lock, fmt.Errorf("%s is %w by another process or by another store of this one (waited %v for its lock); close that first: %w",
				what, errInUse, lockPatience, err)
		}
	}
}

// IsInUse reports whether an error says that another store has the place open.
func IsInUse(err error) bool { return errors.Is(err, errInUse) }
