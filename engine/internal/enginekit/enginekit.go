// Package enginekit is what the engines have in common, whatever database is below them: how a scan
// reads ahead, what a list and a load make of a scan, which paths and objects are taken, and how
// directories and small files get onto the disk so that they stay there.
//
// An engine has the rest: its own locks, its own iterators, and its own words for what went wrong.
package enginekit

import "strings"

// FirstError returns the first of its arguments that is an error, or nil. All of them were evaluated: it
// is for what has to be closed whatever happened before.
func FirstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// OneLine makes one line of a message that may have several.
func OneLine(message string) string { return strings.Join(strings.Fields(message), " ") }
