//go:build !linux

package main

import (
	"errors"
	"time"
)

// threadTime is not available on this system.
func threadTime() (time.Duration, error) {
	return 0, errors.New("-cpu: the processor time of a thread can be read on Linux only")
}
