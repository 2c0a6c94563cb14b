package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/oolith-db/oolith/internal/jsontext"
)

// arrayReader reads the elements of one JSON array, or concatenated values. An invalid value makes the rest
// unreadable, because the start of the next one is unknown.
type arrayReader struct {
	bare    bool // values without an array
	in      *limitedReader
	decoder *json.Decoder
	limit   int
	// before is the number of input bytes before the decoder's first byte.
	before int64
	number int64
	// scanned is the number of bytes in the values read so far. The decoder counts the offset of a syntax error in
	// these.
	scanned int64
	ended   bool
}

func arrayRecords(in io.Reader, skipped position, limit int, bare bool) records {
	limited := &limitedReader{in: in, left: int64(limit)}
	a := &arrayReader{bare: bare, in: limited, decoder: json.NewDecoder(limited), limit: limit, before: skipped.bytes}
	return records{unit: "record", next: a.next}
}

func (a *arrayReader) next() (record, error) {
	if a.ended {
		return record{}, io.EOF
	}
	if a.number == 0 && !a.bare {
		if _, err := a.decoder.Token(); err != nil { // the '[' that the caller has seen
			return record{}, a.failed(err, noValue)
		}
	}
	a.in.left = int64(a.limit)
	more := a.decoder.More() // moves to the next visible byte
	start := a.decoder.InputOffset()
	if !more {
		return record{}, a.end()
	}
	if a.number > 0 && !a.bare {
		start++ // the comma
	}
	a.number++
	var data json.RawMessage
	if err := a.decoder.Decode(&data); err != nil {
		return record{}, a.failed(err, start)
	}
	a.scanned += a.decoder.InputOffset() - start
	return record{number: a.number, data: data, refused: checkUTF8(data)}, nil
}

// end reads the closing bracket and the rest, which must be empty.
func (a *arrayReader) end() error {
	if a.bare {
		_, err := a.decoder.Token()
		if errors.Is(err, io.EOF) {
			a.ended = true
			return io.EOF
		}
		a.number++
		if err == nil {
			err = errors.New("expected a value")
		}
		return a.failed(err, noValue)
	}
	if _, err := a.decoder.Token(); err != nil {
		a.number++
		return a.failed(err, noValue)
	}
	a.ended = true
	closing := a.before + a.decoder.InputOffset()
	a.in.left = int64(a.limit)
	_, err := a.decoder.Token()
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case err == nil || asSyntaxError(err) != nil:
		return fmt.Errorf("the array ends with record %d at byte %d, but more follows, expected one array", a.number, closing)
	default:
		return fmt.Errorf("after the array, which ends at byte %d, %w", closing, err)
	}
}

// noValue is the start for an error outside of a value.
const noValue = math.MaxInt64

// failed adds the position, in bytes counted from 1, to an error. Start is the offset of the value.
func (a *arrayReader) failed(err error, start int64) error {
	offset := a.decoder.InputOffset()
	if syntax := asSyntaxError(err); syntax != nil {
		at := offset + 1
		if offset >= start { // in a value: the decoder counts the bytes of values only
			at = start + syntax.Offset - a.scanned
		}
		return fmt.Errorf("record %d: invalid JSON at byte %d, %w", a.number, a.before+at, jsontext.Explain(err))
	}
	if errors.Is(err, errLimit) {
		err = tooLongError(a.limit)
	}
	return fmt.Errorf("record %d, from byte %d, %w", a.number, a.before+min(start, offset)+1, whenCutOff(err))
}

func asSyntaxError(err error) *json.SyntaxError {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return syntax
	}
	return nil
}

var errLimit = errors.New("limit reached")

// limitedReader stops when a record exceeds the limit, because the decoder would buffer any length.
type limitedReader struct {
	in   io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLimit
	}
	n, err := l.in.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
