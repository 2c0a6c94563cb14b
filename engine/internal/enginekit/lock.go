package enginekit

import (
	"errors"
	"fmt"
	"time"
)

// errInUse is what a store says that another one has open.
var errInUse = fmt.Errorf("in use by another process or by another store of this one (waited %v for its lock); close that first", lockPatience)

const (
	// lockPatience is how long a lock that is held is waited for. A program that starts another one holds each of
	// its locks twice for a moment: the new process has the descriptors of the old until it executes its own
	// program, and a store that is closed, or a process that is killed, meanwhile leaves its lock behind.
	lockPatience = 500 * time.Millisecond
	lockPause    = 5 * time.Millisecond
)

// Locked takes a lock by try, and again for a moment while held says of its error that another has it. What, "the
// directory" say, then begins the error, which holds the last one of try.
func Locked[L any](what string, try func() (L, error), held func(error) bool) (L, error) {
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockPause) {
		lock, err := try()
		switch {
		case err == nil || !held(err):
			return lock, err
		case time.Now().After(end):
			return lock, fmt.Errorf("%s is %w: %w", what, errInUse, err)
		}
	}
}

// IsInUse reports whether an error says that another store has the place open.
func IsInUse(err error) bool { return errors.Is(err, errInUse) }
