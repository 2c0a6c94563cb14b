package command

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// csvReader reads CSV: the first row has the member names of the objects, each other row is an object.
type csvReader struct {
	rows    *csv.Reader
	in      *limitedReader
	limit   int
	numbers bool
	before  int64    // lines of the input before the reader's first one
	last    int64    // the line on which the last row begins that was read
	header  [][]byte // the names as JSON strings
}

// csvRecords reads the header row, which is required.
func csvRecords(in *bufio.Reader, skipped position, limit int, numbers bool) (records, error) {
	limited := &limitedReader{in: in, left: int64(limit)}
	c := &csvReader{rows: csv.NewReader(limited), in: limited, limit: limit, numbers: numbers, before: skipped.lines}
	c.rows.ReuseRecord = true
	names, err := c.rows.Read()
	if errors.Is(err, io.EOF) {
		return records{}, errors.New("the input is empty, expected CSV with a header row")
	}
	if err != nil {
		return records{}, c.failed(err)
	}
	seen := make(map[string]bool)
	for i, name := range names {
		switch {
		case name == "":
			return records{}, fmt.Errorf("the header row has no name for column %d, expected one for each", i+1)
		case seen[name]:
			return records{}, fmt.Errorf("the header row names %q twice, expected a different name for each column", name)
		case !utf8.ValidString(name):
			return records{}, fmt.Errorf("the header row is not UTF-8 in column %d, expected a file in UTF-8", i+1)
		}
		seen[name] = true
		text, err := quoted(name)
		if err != nil {
			return records{}, err
		}
		c.header = append(c.header, text)
	}
	return records{unit: "line", next: c.next}, nil
}

// next converts the next row into an object. An invalid row is a rejected record.
func (c *csvReader) next() (record, error) {
	c.in.left = int64(c.limit)
	row, err := c.rows.Read()
	if errors.Is(err, io.EOF) {
		return record{}, io.EOF
	}
	var wrong *csv.ParseError
	if errors.As(err, &wrong) {
		if errors.Is(err, csv.ErrQuote) && wrong.Line > wrong.StartLine {
			return record{}, c.failed(err) // after an open quote the start of the next row is unknown
		}
		reason := c.reason(wrong)
		if errors.Is(err, csv.ErrFieldCount) {
			reason = fmt.Errorf("the row has %s, expected %d as in the header row", plural(int64(len(row)), "value"), len(c.header))
		}
		return record{number: c.before + int64(wrong.StartLine), refused: reason}, nil
	}
	if err != nil {
		return record{}, c.failed(err)
	}
	line, _ := c.rows.FieldPos(0)
	c.last = c.before + int64(line)
	rec := record{number: c.last}
	data := []byte{'{'}
	for i, value := range row {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(append(data, c.header[i]...), ':')
		if c.numbers && isNumber(value) {
			data = append(data, value...)
			continue
		}
		if !utf8.ValidString(value) {
			rec.refused = fmt.Errorf("column %s is not UTF-8", c.header[i])
			return rec, nil
		}
		text, err := quoted(value)
		if err != nil {
			return record{}, err
		}
		data = append(data, text...)
	}
	rec.data = append(data, '}')
	return rec, nil
}

// reason describes what is wrong with a row.
func (c *csvReader) reason(wrong *csv.ParseError) error {
	where := fmt.Sprintf("column %d", wrong.Column)
	if wrong.Line != wrong.StartLine {
		where = fmt.Sprintf("column %d of line %d", wrong.Column, c.before+int64(wrong.Line))
	}
	return fmt.Errorf("invalid CSV, a quote at %s is not doubled or not closed", where)
}

// failed is an error after which nothing can be read.
func (c *csvReader) failed(err error) error {
	var wrong *csv.ParseError
	if errors.As(err, &wrong) {
		return fmt.Errorf("line %d: %w", c.before+int64(wrong.StartLine), c.reason(wrong))
	}
	if errors.Is(err, errLimit) {
		err = tooLongError(c.limit)
	}
	return fmt.Errorf("after line %d: %w", c.last, err)
}

// isNumber reports whether a text is a JSON number.
func isNumber(text string) bool {
	return text != "" && strings.IndexByte("-0123456789", text[0]) >= 0 && json.Valid([]byte(text)) && strings.TrimSpace(text) == text
}

// quoted writes a text as a JSON string.
func quoted(text string) ([]byte, error) {
	var b bytes.Buffer
	err := writeJSON(&b, text)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// isCSVName reports whether a file is CSV by its name.
func isCSVName(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	return strings.HasSuffix(name, ".csv")
}
