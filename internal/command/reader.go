package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/oolith-db/oolith/internal/jsontext"
	"github.com/oolith-db/oolith/internal/jsonvalid"
)

// maxRecord is the maximum size of a record in bytes. It limits the memory of an import. It has room for the largest
// data of any engine, with the other members that export writes.
const maxRecord = 512<<20 + 64<<10

// readAhead is the size of the buffers between file, decompressor and parser.
const readAhead = 64 << 10

// record is one record of an import file.
type record struct {
	// number is the position in the array, or the line, from 1.
	number int64
	// data is the record as in the file. The receiver owns it.
	data json.RawMessage
	// refused is why the record is rejected; later ones can still be read.
	refused error
}

// records reads an import file one record at a time.
type records struct {
	// unit is what number counts: "record" or "line".
	unit string
	// next returns io.EOF after the last record. Any other error is final: the file cannot be read further, and the
	// error has the position.
	next func() (record, error)
}

// format is what the caller knows about an input.
type format struct {
	// at is the member with the array of records, as outer.inner; empty if the input consists of records.
	at string
	// csv means that the input is CSV; numbers converts values that are JSON numbers.
	csv, numbers bool
}

// readRecords detects the format of an import file from its content: a JSON array, JSON Lines or concatenated JSON
// objects over several lines, each optionally gzipped and with a byte order mark. A file whose first visible byte is
// '[' is an array. The limit, the maximum size of a record, bounds the memory.
//
// It never waits for more input than it needs. Records from a pipe are therefore stored as they arrive.
func readRecords(r io.Reader, limit int, as format) (records, error) {
	in := bufio.NewReaderSize(r, readAhead)
	packed, err := startsWith(in, gzipMark)
	if err != nil {
		return records{}, err
	}
	if packed {
		unpacked, err := unpack(in)
		if err != nil {
			return records{}, err
		}
		in = bufio.NewReaderSize(unpacked, readAhead)
	}
	if err := mustBeText(in); err != nil {
		return records{}, err
	}
	skipped, err := skipToContent(in)
	if err != nil {
		return records{}, err
	}
	switch {
	case as.csv:
		return csvRecords(in, skipped, limit, as.numbers)
	case as.at != "":
		return memberRecords(in, skipped, limit, as.at), nil
	}
	if array, err := startsWith(in, "["); err == nil && array {
		return arrayRecords(in, skipped, limit, false), nil
	}
	if bare, err := spansLines(in); err != nil || bare {
		return arrayRecords(in, skipped, limit, true), err
	}
	return lineRecords(in, skipped, limit), nil
}

// The marks at the beginning of files.
const (
	gzipMark      = "\x1f\x8b"
	byteOrderMark = "\xef\xbb\xbf"
)

// otherTexts are the byte order marks of encodings other than UTF-8.
var otherTexts = []struct{ name, mark string }{
	{"UTF-32", "\xff\xfe\x00\x00"}, {"UTF-32", "\x00\x00\xfe\xff"}, {"UTF-16", "\xff\xfe"}, {"UTF-16", "\xfe\xff"},
}

// startsWith reports whether a mark comes next. It reads no further than the first different byte.
func startsWith(in *bufio.Reader, mark string) (bool, error) {
	for n := 1; n <= len(mark); n++ {
		head, err := peek(in, n)
		if err != nil || string(head) != mark[:n] {
			return false, err
		}
	}
	return true, nil
}

// peek returns the next n bytes, or fewer if the input ends or fails earlier. The read that gets there reports the
// failure.
func peek(in *bufio.Reader, n int) ([]byte, error) {
	head, err := in.Peek(n)
	if err != nil && len(head) == 0 && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return head, nil
}

// spansLines reports whether the input consists of objects over several lines: the first line begins an object and
// the second one continues it. The first line of JSON Lines may also be truncated, but then the next one begins with
// a value.
func spansLines(in *bufio.Reader) (bool, error) {
	if object, err := startsWith(in, "{"); err != nil || !object {
		return false, err
	}
	for n := 1; n < in.Size(); n = in.Buffered() + 1 {
		head, err := peek(in, n)
		if err != nil || len(head) < n {
			return false, err
		}
		head = head[:n]
		if in.Buffered() > n {
			head, _ = in.Peek(in.Buffered()) // cannot fail
		}
		end := bytes.IndexByte(head, '\n')
		if end < 0 {
			continue
		}
		var value json.RawMessage
		if !errors.Is(json.NewDecoder(bytes.NewReader(head[:end])).Decode(&value), io.ErrUnexpectedEOF) {
			return false, nil
		}
		next, err := peek(in, end+2)
		return len(next) > end+1 && bytes.IndexByte([]byte(" \t\r\n\"}"), next[end+1]) >= 0, err
	}
	return false, nil
}

// whenCutOff describes the usual cause of an error.
func whenCutOff(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errCutOff
	}
	return err
}

var errCutOff = errors.New("the input ends too early")

// mustBeText rejects input that cannot be JSON, as far as it is available, so a picture is one error and not one for
// each of its lines.
func mustBeText(in *bufio.Reader) error {
	for _, other := range otherTexts { // UTF-32 first, because its mark begins with that of UTF-16
		found, err := startsWith(in, other.mark)
		if err != nil {
			return err
		}
		if found {
			return fmt.Errorf("the input is %s, expected UTF-8", other.name)
		}
	}
	if _, err := peek(in, 1); err != nil {
		return err
	}
	head, err := peek(in, min(in.Buffered(), 512))
	if err != nil {
		return err
	}
	for i, c := range head {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return fmt.Errorf("the input is binary (byte 0x%02x at offset %d), expected a JSON array or JSON Lines, plain or gzip", c, i)
		}
	}
	for n := 1; n <= utf8.UTFMax && !utf8.FullRune(head); n++ {
		if head, err = peek(in, n); err != nil {
			return err
		}
	}
	if r, size := utf8.DecodeRune(head); r == utf8.RuneError && size == 1 {
		return fmt.Errorf("the input is not UTF-8 (it starts with byte 0x%02x), expected a JSON array or JSON Lines, plain or gzip", head[0])
	}
	return nil
}

// position is a position in the decompressed input.
type position struct{ bytes, lines int64 }

// skipToContent skips a byte order mark and white space and returns how much it skipped.
func skipToContent(in *bufio.Reader) (position, error) {
	var at position
	if marked, err := startsWith(in, byteOrderMark); err != nil {
		return at, err
	} else if marked {
		n, err := in.Discard(len(byteOrderMark))
		at.bytes += int64(n)
		if err != nil {
			return at, err
		}
	}
	for {
		c, err := in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return at, nil
		case err != nil:
			return at, err
		case c == '\n':
			at.lines++
		case c != ' ' && c != '\t' && c != '\r':
			return at, in.UnreadByte()
		}
		at.bytes++
	}
}

// lineRecords reads JSON Lines. A line may have several values. An invalid line is a rejected record of which nothing
// is stored. Empty lines are skipped.
func lineRecords(in *bufio.Reader, skipped position, limit int) records {
	number := skipped.lines
	var more []json.RawMessage // of the same line
	next := func() (record, error) {
		if len(more) > 0 {
			value := more[0]
			more = more[1:]
			return record{number: number, data: value, refused: checkUTF8(value)}, nil
		}
		for {
			line, tooLong, err := readLine(in, limit)
			switch {
			case err == nil || errors.Is(err, io.EOF):
			case len(line) > 0 || tooLong:
				return record{}, fmt.Errorf("line %d: %w", number+1, err)
			case number > 0:
				return record{}, fmt.Errorf("after line %d: %w", number, err)
			default:
				return record{}, err
			}
			number++
			// Concatenated files have a mark at the start of each.
			line = trimJSON(bytes.TrimPrefix(line, []byte(byteOrderMark)))
			switch {
			case tooLong:
				return record{number: number, refused: tooLongError(limit)}, nil
			case len(line) > 0:
				refused := checkJSON(line)
				if values := splitValues(line); refused != nil && len(values) > 1 {
					line, more, refused = values[0], values[1:], checkUTF8(values[0])
				}
				return record{number: number, data: line, refused: refused}, nil
			case err != nil:
				return record{}, io.EOF
			}
		}
	}
	return records{unit: "line", next: next}
}

// splitValues returns the values of a line with several objects or arrays; nil for any other line.
func splitValues(line []byte) (values []json.RawMessage) {
	for decoder := json.NewDecoder(bytes.NewReader(line)); ; {
		var value json.RawMessage
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			return values
		}
		if err != nil || value[0] != '{' && value[0] != '[' {
			return nil // adjacent numbers and words are not records
		}
		values = append(values, value)
	}
}

// readLine returns the next line in its own memory. It reads a line longer than the limit to its end but does not
// keep it.
func readLine(in *bufio.Reader, limit int) (line []byte, tooLong bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > limit+1 { // one for the line feed
			line, tooLong = nil, true
		}
		if !tooLong {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

// checkJSON returns nil for one JSON value in UTF-8, and otherwise an error with the position.
func checkJSON(line []byte) error {
	if json.Valid(line) {
		return checkUTF8(line)
	}
	var value json.RawMessage
	err := json.Unmarshal(line, &value)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("invalid JSON at column %d, %w", syntax.Offset, jsontext.Explain(err))
	}
	return fmt.Errorf("invalid JSON, %w", jsontext.Explain(err))
}

// checkUTF8 returns an error with the position if a JSON value is not UTF-8.
func checkUTF8(value []byte) error {
	if at := jsonvalid.NotUTF8(value); at >= 0 {
		return fmt.Errorf("invalid JSON, the byte 0x%02x at column %d is not UTF-8", value[at], at+1)
	}
	return nil
}

func tooLongError(limit int) error {
	return fmt.Errorf("the record is larger than %s", humanBytes(int64(limit)))
}

// trimJSON removes white space around a JSON value.
func trimJSON(data []byte) []byte { return bytes.Trim(data, " \t\r\n") }
