package command

import "os"

// isAlive reports whether there is a process with an id.
func isAlive(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	_ = process.Release() // it was looked at only
	return true
}
