// Package enginekit is what persistent layers have in common, whatever database is below them. It is for authors of engines:
// programs that use a store have no need of it.
//
// A layer. [New] makes of a [Database], six methods, a [Layer] that keeps the promises of storage.EmbeddedLayer, Batcher and Scanner, and
// its [Life], for what the engine offers besides. An engine of another form takes from the rest what it needs.
//
// Keys. [Space] lays paths out as the keys of an ordered key-value store, and [Walk] finds what matches a pattern there, and [Space.Iterate] reads it
// along a [Cursor].
// [AppendObject] and [Decode] are the stored form of an object, with a version and a checksum.
//
// Reading. An engine writes a [Reader], which reads the next few objects of a scan, with [Fill] in it; [Scan], [GetList] and [Load]
// make of it what storage.Scanner, storage.Layer and storage.EmbeddedLayer demand. [Scans] are the scans that Close has to end. [Check]
// is the loop of storage.Checker.
//
// Arguments. [CheckPath], [CheckPattern], [CheckScanned], [CheckStored], [CheckPut], [CheckChanges] and [CheckClear] accept what a layer accepts, and
// return the errors that the conformance suite demands for the rest. [KeyLocks] order the writes of one key.
//
// Files. [PrepareDir], [FindDir], [SyncDir], [ReplaceFile] and [CheckFormat] make directories and small files that survive a loss of power.
// [Locked] waits a moment for a lock, and [Explain] says what to do about an error of the file system.
//
// Logging. [Apart] hands records to a caller's handler in a goroutine of its own, and [Drain] waits for it.
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
