package sqlite

import "golang.org/x/sys/windows"

// noRoom are the errors of a disk without room.
var noRoom = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL}
