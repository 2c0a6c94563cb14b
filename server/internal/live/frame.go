package live

import (
	"sync"

	"github.com/gobwas/ws"
)

// frame is a message in wire format. The first connection that needs it builds it, and all connections share it.
type frame struct {
	size  int // approximate size in bytes
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

// ready returns a complete frame.
func ready(parts ...[]byte) *frame {
	f := &frame{parts: parts}
	for _, part := range parts {
		f.size += len(part)
	}
	return f
}

// bytes returns the frame in parts. They are shared and read-only.
func (f *frame) bytes() [][]byte {
	if f.build != nil { // set only before it is shared, except for frames from ready
		f.once.Do(func() {
			f.parts = f.build()
			f.stats.encoded.Add(1)
		})
	}
	return f.parts
}

// webSocket adds a WebSocket header to the parts of a message.
func webSocket(code ws.OpCode, parts ...[]byte) [][]byte {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	return append([][]byte{header(code, length)}, parts...)
}

// header is the header of a message in one frame. Servers do not mask.
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

// Close codes. Codes from 4400 on correspond to the HTTP status in their last three digits. docs/protocol.md
// describes the client's reaction to each.
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
