//go:build !windows

package sqlite

import "syscall"

// noRoom lists the errors of a disk without space, for all users or for this one.
var noRoom = []error{syscall.ENOSPC, syscall.EDQUOT}
