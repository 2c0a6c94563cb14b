package live

import (
	"net/http"
	"strconv"

	"github.com/gobwas/ws"
)

// bearer is the subprotocol after which browsers send a token. The server must answer it, or browsers close the
// connection.
const bearer = "bearer"

// ServeWire serves the older WebSocket protocol: a subscription to a path or pattern, or for "" the clock. It returns
// once the stream runs. The caller must authorize the path.
func (l *Live) ServeWire(w http.ResponseWriter, r *http.Request, caller Caller, path string) {
	p, viewer := wire, l.viewerOf(caller.Identity)
	if path == "" {
		p = clock
	} else if _, err := l.hub.topic(r.Context(), path, viewer); err != nil {
		// A rejection after the upgrade would be a silent connection.
		l.refuse(w, err)
		caller.ended()
		return
	}
	version := r.URL.Query().Get("v")
	raw, err := l.upgrade(w, r, bearer, nil)
	if err != nil {
		caller.ended()
		return
	}
	caller.Allowed = nil // the client makes no further requests, so the request need not stay in memory
	c := l.newConn(raw, p, caller, viewer)
	if !l.openSocket(c, raw) {
		return
	}
	if p == clock {
		c.tell(l.time())
	} else {
		l.attachTo(l.ctx, c, path, version)
	}
	go c.read(raw, nil)
}

// time is the message of the clock: decimal digits in a binary frame.
func (l *Live) time() *frame {
	digits := strconv.AppendInt(nil, l.opt.Now().UnixNano(), 10)
	return ready(webSocket(ws.OpBinary, digits)...)
}

func itoa(n int) string { return strconv.Itoa(n) }
