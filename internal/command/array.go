package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/oolith-db/oolith/internal/jsontext"
)

// arrayReader reads the elements of one JSON array, or bare values one after the other. One that is no JSON makes
// the rest unreadable: where the next one begins can only be guessed.
type arrayReader struct {
	bare    bool // values without an array around them
	in      *limitedReader
	decoder *json.Decoder
	limit   int
	// before is the number of bytes of the input before the decoder's first one.
	before int64
	number int64
	// scanned is the number of bytes in values read so far, which is how the decoder
	// counts the offset of a syntax error.
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
		if _, err := a.decoder.Token(); err != nil { // the '[' that the caller saw
			return record{}, a.failed(err, noValue)
		}
	}
	a.in.left = int64(a.limit)
	more := a.decoder.More() // moves up to the next visible byte
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

// end reads the closing bracket and whatever is behind it, which must be nothing.
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

// noValue is the start of an error outside of a value.
const noValue = math.MaxInt64

// failed says where the array broke, in bytes counted from 1. The start is the offset of
// the value in question.
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

// limitedReader stops when one record asks for more than the limit: the decoder itself
// would buffer any length.
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
