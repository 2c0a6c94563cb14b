package storage

import "github.com/oolith-db/oolith/meta"

// The values of Event.Operation.
const (
	// OperationSet is a stored object, in Event.Object.
	OperationSet = "set"
	// OperationDel is a delete: of one key, with the deleted object, or of a glob, with the pattern as Event.Key and
	// a nil Event.Object.
	OperationDel = "del"
	// OperationClear is a Clear. Event.Key is empty.
	OperationClear = "clear"
)

// Event is one committed change.
type Event struct {
	// Key is the changed path; the pattern for a glob delete; empty for a clear.
	Key string
	// Operation is "set", "del" or "clear".
	Operation string
	// Object is the stored object for "set", the deleted one for "del" of one key, and nil otherwise. It is shared
	// with the store and all consumers: read-only.
	Object *meta.Object
}

// EventCallback is called with each event of a watch.
type EventCallback func(event Event)

// StorageChan is a channel of events.
type StorageChan chan Event
