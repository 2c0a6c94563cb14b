package live

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"
)

const (
	// pulse is the interval of the keeper: half of the time in which access must end.
	pulse = 500 * time.Millisecond
	// keepAliveSlots is the number of groups of connections. Each second serves one group, so each connection is kept
	// alive every 20 s.
	keepAliveSlots = 20
	// silence is how long a WebSocket client may leave our pings unanswered.
	silence = 3 * keepAliveSlots * time.Second
)

var (
	ping    = ready(webSocket(ws.OpPing)...)
	comment = ready([]byte(": keep-alive\n\n"))
)

// keep does the periodic work for all connections, so no connection needs a timer or a goroutine for it.
func (l *Live) keep() {
	defer l.done.Done()
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-l.ctx.Done():
			return
		case <-ticker.C:
		}
		l.beat(n)
	}
}

// beat is the n-th period.
func (l *Live) beat(n int) {
	second := n%2 == 0
	var revoked, alive []*conn
	var clocks []*conn
	l.mu.Lock()
	for c := range l.conns {
		switch {
		case isClosed(c.caller.Done):
			revoked = append(revoked, c)
			continue
		case second && c.protocol == clock:
			clocks = append(clocks, c)
		}
		if second && int(c.slot) == n/2%keepAliveSlots {
			alive = append(alive, c)
		}
	}
	l.mu.Unlock()
	for _, c := range revoked {
		c.end(closeRevoked, "the client's access has ended")
	}
	if len(clocks) > 0 {
		now := l.time()
		for _, c := range clocks {
			c.push(now)
		}
	}
	for _, c := range alive {
		l.keepAlive(c)
	}
	if second {
		l.hub.sweep(int(l.opt.Limits.Linger / time.Second))
	}
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done: // never, for nil
		return true
	default:
		return false
	}
}

// keepAlive sends something so that proxies do not cut an idle connection, and detects that a client is gone.
func (l *Live) keepAlive(c *conn) {
	if !c.protocol.isWebSocket() {
		c.tell(comment)
		return
	}
	if l.opt.Now().UnixNano()-c.heard.Load() > int64(silence) {
		c.drop()
		return
	}
	c.tell(ping)
	if c.session != nil {
		go c.session.renew()
	}
}

// farewell is the last message to a client: why the connection closes, and when to reconnect.
func (c *conn) farewell(code ws.StatusCode, reason string) *frame {
	if c.protocol.isWebSocket() {
		return closeFrame(code, reason)
	}
	return ready(fmt.Appendf(nil, ": %s\nretry: %d\n\n", reason, retryAfter()))
}

// retryAfter is a random number of milliseconds, so that clients do not reconnect all at once.
func retryAfter() int { return 1000 + rand.IntN(3000) }
