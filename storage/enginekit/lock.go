package enginekit

import (
	"errors"
	"fmt"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// errInUse is what a store says that another one has open. It is storage.ErrInUse, in words that fit into a sentence.
var errInUse error = inUse{}

type inUse struct{}

func (inUse) Error() string        { return "in use" }
func (inUse) Is(target error) bool { return target == storage.ErrInUse }

const (
	// lockPatience is how long a lock that is held is waited for. A program that starts another one holds each of
	// its locks twice for a moment: the new process has the descriptors of the old until it executes its own
	// program, and a store that is closed, or a process that is killed, meanwhile leaves its lock behind.
	lockPatience = 500 * time.Millisecond
	lockPause    = 5 * time.Millisecond
)

// Holder is who has a lock that is not given.
type Holder int

const (
	Nobody   Holder = iota // something else is wrong
	Here                   // another store of this process: there is nothing to wait for
	Anywhere               // another process, or another store of this one
)

// Locked takes a lock by try, and again for a moment while its error says that it is held anywhere. What, "the
// directory" say, begins the error of a lock that is held, which holds the last one of try.
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
