package live

import (
	"sync"

	"github.com/gobwas/ws"
)

// frame is what goes to connections, as it goes over the wire. The first connection that needs it makes it, and all share it.
type frame struct {
	size  int // about how many bytes it has
	once  sync.Once
	build func() [][]byte
	parts [][]byte
	stats *counters

	deflate sync.Once // guards small
	small   [][]byte  // the frame compressed; parts where that does not pay
}

func newFrame(stats *counters, size int, build func() [][]byte) *frame {
	return &frame{size: size, build: build, stats: stats}
}

// ready is a frame that is made.
func ready(parts ...[]byte) *frame {
	f := &frame{parts: parts}
	for _, part := range parts {
		f.size += len(part)
	}
	return f
}

// bytes returns the frame in parts. They are shared and read-only.
func (f *frame) bytes() [][]byte {
	if f.build != nil { // not set once it is shared, but for the frames that ready returns
		f.once.Do(func() {
			f.parts = f.build()
			f.stats.encoded.Add(1)
		})
	}
	return f.parts
}

// webSocket puts the header of a WebSocket message before its parts.
func webSocket(code ws.OpCode, parts ...[]byte) [][]byte {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	return append([][]byte{header(code, length)}, parts...)
}

// header is that of a message that is one frame. A server does not mask.
func header(code ws.OpCode, length int) []byte {
	h := []byte{0x80 | byte(code)}
	switch {
	case length < 126:
		return append(h, byte(length))
	case length < 1<<16:
		return append(h, 126, byte(length>>8), byte(length))
	}
	h = append(h, 127)
	for shift := 56; shift >= 0; shift -= 8 {
		h = append(h, byte(uint64(length)>>shift))
	}
	return h
}

// Close codes. Those from 4400 on say what an HTTP status with the last three digits says. docs/protocol.md has what a
// client does on each of them.
const (
	closeNormal    = ws.StatusNormalClosure
	closeRestart   = ws.StatusCode(1012)
	closeMalformed = ws.StatusCode(4400)
	closeRevoked   = ws.StatusCode(4401)
	closeTooMany   = ws.StatusCode(4429)
)

func closeFrame(code ws.StatusCode, reason string) *frame {
	body := ws.NewCloseFrameBody(code, reason[:min(len(reason), 123)])
	return ready(webSocket(ws.OpClose, body)...)
}
