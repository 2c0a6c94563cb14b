// Package enginekit has what persistent layers share, independent of the database. It is for authors of engines.
// Programs that use a store do not need it.
//
// [New] makes a [Layer] from a [Database], an interface of six methods. The layer fulfills the contract of
// storage.EmbeddedLayer, Batcher and Scanner. An engine uses its [Life] for additional methods. An engine of another
// form uses the parts below.
//
// Keys: [Space] maps paths to the keys of an ordered key-value store, [Walk] finds the matches of a pattern there, and
// [Space.Iterate] reads them along a [Cursor]. [AppendObject] and [Decode] convert an object to and from its stored
// form, which has a version and a checksum.
//
// Reading: an engine implements a [Reader], which reads the next objects of a scan, with [Fill]. [Scan], [GetList] and
// [Load] turn it into the methods of storage.Scanner, storage.Layer and storage.EmbeddedLayer. [Scans] lists the scans
// that Close has to end. [Check] is the loop of storage.Checker.
//
// Arguments: [CheckPath], [CheckPattern], [CheckScanned], [CheckStored], [CheckPut], [CheckChanges] and [CheckClear]
// return the errors that the conformance suite requires for invalid input. [KeyLocks] serialize the writes of one key.
//
// Files: [PrepareDir], [FindDir], [SyncDir], [ReplaceFile] and [CheckFormat] handle directories and small files that
// survive a power failure. [Locked] retries a lock for half a second, and [Explain] adds advice to an error of the file
// system.
//
// Errors: [Incomplete] is that of a store that is marked as incomplete. [OneLine] makes one line of a message.
//
// Logging: [Apart] runs a caller's log handler in a separate goroutine, and [Drain] waits for it.
package enginekit

import (
	"fmt"
	"strings"

	"github.com/oolith-db/oolith/storage"
)

// Incomplete is the error of a store that is marked as incomplete for a reason: see storage.IncompleteMarker.
func Incomplete(reason string) error {
	return fmt.Errorf("%w, %s", storage.ErrIncomplete, OneLine(reason))
}

// OneLine joins the lines of a message into one line.
func OneLine(message string) string { return strings.Join(strings.Fields(message), " ") }
