package live

import (
	"slices"
	"time"
)

// Connection is a stream that is open.
type Connection struct {
	// ID names it, for Disconnect. It is never used again.
	ID uint64
	// Protocol is "wire", "clock", "oolith.v1" or "sse".
	Protocol string
	// Identity and Remote are those of its Caller.
	Identity any
	Remote   string
	// Since is when it began.
	Since time.Time
	// Patterns are what it follows.
	Patterns []string
	// Unsent is how many bytes wait for it, Sent how many messages it was given.
	Unsent int
	Sent   uint64
	// CatchUps is how often it fell behind and got the fresh state; Behind says that it is about to get it.
	CatchUps uint64
	Behind   bool
}

// Connections returns the streams that are open, the oldest first. Long polls are none.
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

// Disconnect ends a stream, whose client comes back by itself unless its rights are gone. It reports false where there is no such
// stream.
func (l *Live) Disconnect(id uint64) bool {
	for _, c := range l.list() {
		if c.id == id {
			c.end(closeRestart, "an operator ended the connection")
			return true
		}
	}
	return false
}
