package live

import (
	"slices"
	"time"
)

// Connection is an open stream.
type Connection struct {
	// ID identifies it, for Disconnect. It is never reused.
	ID uint64
	// Protocol is "wire", "clock", "oolith.v1" or "sse".
	Protocol string
	// Identity and Remote are those of its Caller.
	Identity any
	Remote   string
	// Since is the start time.
	Since time.Time
	// Patterns are the followed patterns.
	Patterns []string
	// Unsent is the number of waiting bytes, Sent the number of messages.
	Unsent int
	Sent   uint64
	// CatchUps is how often it fell behind and got a fresh state; Behind means that a fresh state is due.
	CatchUps uint64
	Behind   bool
}

// Connections returns the open streams, oldest first, without long polls.
func (l *Live) Connections() []Connection {
	open := l.list()
	list := make([]Connection, len(open))
	l.hub.mu.Lock()
	for i, c := range open {
		list[i].Patterns = make([]string, len(c.members))
		for j, m := range c.members {
			list[i].Patterns[j] = m.topic.pattern
		}
	}
	l.hub.mu.Unlock()
	for i, c := range open {
		one := &list[i]
		one.ID, one.Protocol, one.Identity, one.Remote = c.id, c.protocol.String(), c.caller.Identity, c.caller.Remote
		one.Since, one.Sent, one.CatchUps = time.Unix(0, c.since), c.sent.Load(), c.caught.Load()
		c.mu.Lock()
		one.Unsent, one.Behind = c.unsent, c.behind
		c.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b Connection) int { return int(int64(a.ID) - int64(b.ID)) })
	return list
}

// Disconnect closes a stream. Its client reconnects unless its access has ended. Disconnect returns false if there is
// no such stream.
func (l *Live) Disconnect(id uint64) bool {
	for _, c := range l.list() {
		if c.id == id {
			c.end(closeRestart, "an operator ended the connection")
			return true
		}
	}
	return false
}
