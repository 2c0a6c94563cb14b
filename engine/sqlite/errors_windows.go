package sqlite

import "golang.org/x/sys/windows"

// noRoom lists the errors of a disk without space.
var noRoom = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL}
