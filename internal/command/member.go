package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/oolith-db/oolith/internal/jsontext"
)

// memberReader reads the elements of an array in a member of the input's single object: {"items": [...]}. It also
// reads the rest of the object, so a truncated file is detected.
type memberReader struct {
	in      *limitedReader
	decoder *json.Decoder
	limit   int
	before  int64 // bytes of the input before the decoder's first one
	path    []string
	open    bool
	ended   bool
	number  int64
}

func memberRecords(in io.Reader, skipped position, limit int, at string) records {
	limited := &limitedReader{in: in, left: int64(limit)}
	m := &memberReader{in: limited, decoder: json.NewDecoder(limited), limit: limit, before: skipped.bytes, path: strings.Split(at, ".")}
	return records{unit: "record", next: m.next}
}

func (m *memberReader) next() (record, error) {
	if m.ended {
		return record{}, io.EOF
	}
	if !m.open {
		for i := range m.path {
			if err := m.enter(m.path[:i+1]); err != nil {
				return record{}, err
			}
		}
		token, err := m.token()
		if err != nil {
			return record{}, err
		}
		if token != json.Delim('[') {
			return record{}, fmt.Errorf("the member %q is not an array, expected an array of records", strings.Join(m.path, "."))
		}
		m.open = true
	}
	m.in.left = int64(m.limit)
	if !m.decoder.More() {
		return record{}, m.end()
	}
	m.number++
	var data json.RawMessage
	if err := m.decoder.Decode(&data); err != nil {
		return record{}, fmt.Errorf("record %d: %w", m.number, m.failed(err))
	}
	return record{number: m.number, data: data, refused: checkUTF8(data)}, nil
}

// enter moves to the value of the last member of a path. The decoder is at the object that contains it.
func (m *memberReader) enter(path []string) error {
	name := path[len(path)-1]
	token, err := m.token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		holder := "the input"
		if len(path) > 1 {
			holder = fmt.Sprintf("the member %q", strings.Join(path[:len(path)-1], "."))
		}
		return fmt.Errorf("%s is not an object, expected one with the member %q", holder, name)
	}
	for m.decoder.More() {
		token, err := m.token()
		if err != nil {
			return err
		}
		if token == name {
			return nil
		}
		if err := m.skip(); err != nil {
			return err
		}
	}
	if _, err := m.token(); err != nil { // the '}', or an error
		return err
	}
	return fmt.Errorf("the input has no member %q, expected an array of records there", strings.Join(path, "."))
}

// skip skips a value of any size.
func (m *memberReader) skip() error {
	for depth := 0; ; {
		token, err := m.token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// end reads the rest after the array.
func (m *memberReader) end() error {
	for range len(m.path) + 1 { // the array, and each object around it
		for m.decoder.More() {
			if err := m.skip(); err != nil {
				return err
			}
		}
		if _, err := m.token(); err != nil {
			return err
		}
	}
	m.ended = true
	end := m.before + m.decoder.InputOffset()
	m.in.left = int64(m.limit)
	_, err := m.decoder.Token()
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case err == nil || asSyntaxError(err) != nil:
		return fmt.Errorf("more data follows the object that ends at byte %d, expected one object", end)
	}
	return m.failed(err)
}

// token reads the next token, which is required.
func (m *memberReader) token() (json.Token, error) {
	m.in.left = int64(m.limit)
	token, err := m.decoder.Token()
	if err != nil {
		return nil, m.failed(err)
	}
	return token, nil
}

func (m *memberReader) failed(err error) error {
	at := m.before + m.decoder.InputOffset() + 1
	switch {
	case asSyntaxError(err) != nil:
		return fmt.Errorf("invalid JSON from byte %d, %w", at, jsontext.Explain(err))
	case errors.Is(err, errLimit):
		err = tooLongError(m.limit)
	}
	return fmt.Errorf("from byte %d, %w", at, whenCutOff(err))
}
