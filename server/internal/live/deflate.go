package live

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/klauspost/compress/flate"
)

// Compression of messages (permessage-deflate, RFC 7692) for oolith.v1. Neither side keeps a context, so a compressed
// frame is made once for all connections, and a connection costs no additional memory.

// compressFrom is the minimum size of a compressed message: 10 µs save half of it or more.
const compressFrom = 512

// tail ends each compressed message and is not sent; final lets a reader end after it.
const (
	tail  = "\x00\x00\xff\xff"
	final = "\x01\x00\x00\xff\xff"
)

// negotiate accepts compression if a client offers it without context and without a smaller window.
func negotiate(accepted *bool) func(httphead.Option) (httphead.Option, error) {
	extension := wsflate.Extension{Parameters: wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}}
	return func(offer httphead.Option) (httphead.Option, error) {
		answer, err := extension.Negotiate(offer)
		if err != nil {
			return httphead.Option{}, nil // an offer that makes no sense is declined
		}
		*accepted = *accepted || answer.Size() > 0
		return answer, nil
	}
}

// deflated returns the compressed frame in parts, like bytes, if it is smaller.
func (f *frame) deflated() [][]byte {
	plain := f.bytes()
	f.deflate.Do(func() {
		f.small = plain
		length := 0
		for _, part := range plain[1:] {
			length += len(part)
		}
		if length < compressFrom || ws.OpCode(plain[0][0]&0x0f) != ws.OpText {
			return
		}
		message := make([]byte, 0, length)
		for _, part := range plain[1:] {
			message = append(message, part...)
		}
		out := bytes.NewBuffer(make([]byte, 0, length/2))
		if err := flate.StatelessDeflate(out, message, false, nil); err != nil {
			return // writing to memory cannot fail
		}
		payload, ended := bytes.CutSuffix(out.Bytes(), []byte(tail))
		if !ended || len(payload) > length-length/8 {
			return
		}
		head := header(ws.OpText, len(payload))
		head[0] |= compressedBit
		f.small = [][]byte{head, bytes.Clone(payload)}
	})
	return f.small
}

// compressedBit is RSV1 in the first byte of a frame, compressedRsv its form in ws.
const (
	compressedBit = 0x40
	compressedRsv = 4
)

var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

var errInflate = errors.New("the compressed message is malformed")

// inflate decompresses a client's message, up to a limit.
func inflate(message []byte, limit int) ([]byte, error) {
	source := bytes.NewReader(append(message, tail+final...))
	inflater := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(inflater)
	if err := inflater.(flate.Resetter).Reset(source, nil); err != nil {
		return nil, errInflate
	}
	var out bytes.Buffer
	n, err := out.ReadFrom(io.LimitReader(inflater, int64(limit)+1))
	switch {
	case err != nil:
		return nil, errInflate
	case n > int64(limit):
		return nil, errTooBig
	case source.Len() > len("\x00"+tail+final): // a byte more is behind a block that says it is the last
		return nil, errInflate
	}
	return out.Bytes(), nil
}
