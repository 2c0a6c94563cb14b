package storage

import "github.com/oolith-db/oolith/meta"

// change is a committed change, the only record of it from the pipeline to the last consumer. It is immutable.
type change struct {
	// Event is what a watch receives. A change that no watch receives has only the Key.
	Event
	revision uint64
	// group is shared by the keys of one batch or glob delete, and by nothing else.
	group  uint64
	kind   changeKind
	reason Reason // of a removal
}

type changeKind uint8

const (
	changeSet    changeKind = iota // an object replaced another one
	changeCreate                   // an object was created
	changeDel                      // an object was deleted
	// changePart is an object that was deleted with others, by a glob delete or a clear. Subscriptions receive it.
	// Watches receive the pattern, or the clear.
	changePart
	// changeSilent is an object that DelSilent deleted. Nobody receives it.
	changeSilent
	// changePattern is a glob delete, and changeClear the removal of everything. Watches receive them.
	changePattern
	changeClear
)

// changeOf returns a change for an event without further information.
func changeOf(event Event) *change {
	c := &change{Event: event}
	if event.Operation == OperationDel {
		c.kind = changeDel
	}
	return c
}

// creates reports whether the key had no object before the change.
func (c *change) creates() bool { return c.kind == changeCreate }

// removes reports whether the key has no object after the change.
func (c *change) removes() bool {
	return c.kind == changeDel || c.kind == changePart || c.kind == changePattern
}

// bytes returns the length of the change's data.
func (c *change) bytes() int {
	if c.Object == nil {
		return 0
	}
	return len(c.Object.Data)
}

// changeWithObject is a change and its object in one allocation, for the most frequent case.
type changeWithObject struct {
	change
	object meta.Object
}

// committed returns the change of a committed write of one key, which is part of a group.
func (w *write) committed(group uint64) (c *change) {
	switch {
	case w.silent:
		c = &change{kind: changeSilent, Event: Event{Key: w.path}}
	case w.stores():
		c = w.changeOfStored()
		c.Key, c.Operation = c.Object.Path, OperationSet
		if !w.found.exists && !w.found.past {
			c.kind = changeCreate
		}
	default:
		c = &change{kind: changeDel, reason: w.op.reason(), Event: Event{Key: w.path, Operation: OperationDel, Object: w.removed()}}
	}
	c.revision, c.group = w.revision, group
	return c
}

// changeOfStored returns a change that has only the object that the write stored.
func (w *write) changeOfStored() *change {
	if w.stored != nil || w.version == nil {
		return &change{Event: Event{Object: w.shared()}}
	}
	c := new(changeWithObject)
	w.version.CopyTo(&c.object) // its path does not reference the caller's memory
	w.stored, c.Object = &c.object, &c.object
	return &c.change
}

// removed returns the object that a committed delete of one key removed.
func (w *write) removed() *meta.Object {
	switch {
	case w.found.object != nil:
		return w.found.object
	case w.found.spot.Version != nil:
		obj := w.found.spot.Version.Object()
		return &obj
	}
	return w.found.by.shared() // without memory no groups overlap, so it is in this group
}

// shared returns the object that a committed write stored. Anybody may keep it.
func (w *write) shared() *meta.Object {
	if w.stored == nil {
		stored := w.object
		if w.version != nil {
			stored = w.version.Object() // its path does not reference the caller's memory
		}
		w.stored = &stored
	}
	return w.stored
}

// reason returns why a write of this kind removes an object; ReasonNone if it stores one.
func (op operation) reason() Reason {
	switch op {
	case opDel:
		return ReasonDeleted
	case opExpire:
		return ReasonExpired
	case opTrim:
		return ReasonLimit
	case opClear:
		return ReasonCleared
	case opDelGlob:
		return ReasonPattern
	}
	return ReasonNone
}
