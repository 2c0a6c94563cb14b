//go:build !windows

package sqlite

import "syscall"

// noRoom are the errors of a disk without room, for all or for this user.
var noRoom = []error{syscall.ENOSPC, syscall.EDQUOT}
