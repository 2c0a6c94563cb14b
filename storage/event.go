package storage

import "github.com/oolith-db/oolith/meta"

// The values of Event.Operation.
const (
	// OperationSet is an object that was stored: Event.Object is the object.
	OperationSet = "set"
	// OperationDel is a delete: of one key, with the removed object, or of a glob, with
	// the pattern as Event.Key and a nil Event.Object.
	OperationDel = "del"
	// OperationClear is the removal of everything: Event.Key is empty.
	OperationClear = "clear"
)

// Event is one committed change.
type Event struct {
	// Key is the path that changed; the pattern for a glob delete; empty for a clear.
	Key string
	// Operation is "set", "del" or "clear".
	Operation string
	// Object is the stored object for a "set", the removed one for a "del" of one key,
	// nil otherwise. It is shared by all consumers and with the store: read-only.
	Object *meta.Object
}

// EventCallback is called with each event of a watch.
type EventCallback func(event Event)

// StorageChan is a channel of events.
type StorageChan chan Event
