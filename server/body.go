package server

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/oolith-db/oolith/internal/jsontext"
	"github.com/oolith-db/oolith/internal/jsonvalid"
)

// Reading request bodies, with limits on size, decompressed size and time.

// body reads and decompresses the body of a request.
func (c *call) body() ([]byte, error) {
	limits := &c.s.limits
	if c.r.ContentLength > limits.Body {
		return nil, tooLarge("Body", limits.Body).header("Connection", "close")
	}
	control := http.NewResponseController(c.w.ResponseWriter)
	patient := &patientReader{
		r: http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, limits.Body), control: control,
		stall: limits.BodyStall, end: later(time.Now(), limits.BodyTime),
	}
	defer patient.stop()
	var source io.Reader = patient
	most, name := limits.Body, "Body"
	switch encoding := strings.ToLower(c.r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		unzip, err := gzip.NewReader(patient)
		if err != nil {
			return nil, c.bodyError(err)
		}
		source, most, name = unzip, limits.Decompressed, "Decompressed"
	default:
		return nil, problem(UnsupportedType, "the content encoding %q is not supported, expected gzip or none", clip(encoding)).header("Accept-Encoding", "gzip, identity")
	}
	if length := c.r.ContentLength; length > 0 && length <= 64<<10 && name == "Body" {
		data := make([]byte, length) // the announced length is small
		if _, err := io.ReadFull(patient, data); err != nil {
			return nil, c.bodyError(err)
		}
		return data, nil
	}
	var buffer bytes.Buffer
	if c.r.ContentLength > 0 {
		buffer.Grow(int(min(c.r.ContentLength, 1<<20)) + bytes.MinRead)
	}
	n, err := buffer.ReadFrom(io.LimitReader(source, min(most, unlimited-1)+1))
	if err != nil {
		return nil, c.bodyError(err)
	}
	if n > most {
		return nil, tooLarge(name, most).header("Connection", "close")
	}
	return buffer.Bytes(), nil
}

func tooLarge(name string, most int64) *Problem {
	return problem(TooLarge, "the body has more than %d bytes, the limit %s", most, name).
		with("limit", most).saying("Request Entity Too Large")
}

// bodyError builds the problem for a body that cannot be read completely.
func (c *call) bodyError(err error) error {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge("Body", large.Limit).header("Connection", "close")
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem(BodyTimeout, "the body paused for more than %v or took more than %v, the limits BodyStall and BodyTime",
			c.s.limits.BodyStall, c.s.limits.BodyTime).header("Connection", "close")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), strings.HasPrefix(err.Error(), "flate:"):
		return problem(InvalidHeader, "Content-Encoding is gzip, but the body is not valid gzip (%v)", err).with("header", "Content-Encoding")
	}
	return problem(InvalidJSON, "the body ends too early")
}

// patientReader allows a body time as long as it makes progress.
type patientReader struct {
	r       io.Reader
	control *http.ResponseController
	stall   time.Duration
	end     time.Time // of the whole body; zero for none
	set     time.Time // last time the deadline was set; zero for never
}

func (p *patientReader) Read(b []byte) (int, error) {
	// Setting a deadline costs a system call or a timer, so do it rarely.
	if now := time.Now(); p.set.IsZero() || now.Sub(p.set) > p.stall/16 {
		deadline := later(now, p.stall)
		if deadline.IsZero() || !p.end.IsZero() && p.end.Before(deadline) {
			deadline = p.end
		}
		p.set = now
		if err := p.control.SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
	}
	return p.r.Read(b)
}

// stop removes the deadline, since later requests on the connection have their own. It ignores a closed connection.
func (p *patientReader) stop() { _ = p.control.SetReadDeadline(time.Time{}) }

// later adds a duration to a time; it returns zero, for never, if the duration is no limit.
func later(now time.Time, after time.Duration) time.Time {
	if after >= 1<<61 {
		return time.Time{}
	}
	return now.Add(after)
}

// json reads a body that is one JSON value and removes white space between its tokens.
func (c *call) json() ([]byte, error) {
	data, err := c.body()
	if err != nil {
		return nil, err
	}
	if err := c.s.checkJSON(data); err != nil {
		return nil, err
	}
	return compact(data), nil
}

// checkJSON accepts one JSON value within the limits.
func (s *Server) checkJSON(data []byte) error {
	if len(bytes.TrimLeft(data, " \t\r\n")) == 0 {
		return problem(InvalidJSON, "the body is empty, expected one JSON value").with("offset", 0).saying("EOF")
	}
	if !jsonvalid.Valid(data) {
		at, err := notJSON(data)
		return problem(InvalidJSON, "invalid JSON at byte %d, %v", at, err).with("offset", at).saying(fmt.Sprintf("at byte %d: %v", at, err))
	}
	in := inspector{data: data, depth: s.limits.Depth, twice: s.opt.AllowDuplicateMembers}
	if at, err := in.run(); err != nil {
		return problem(InvalidJSON, "at byte %d there are %v", at, err).with("offset", at).saying(fmt.Sprintf("at byte %d: %v", at, err))
	}
	return nil
}

// notJSON returns the offset, from 0, and the reason why data is invalid JSON.
func notJSON(data []byte) (int, error) {
	if at := jsonvalid.NotUTF8(data); at >= 0 {
		return at, fmt.Errorf("the byte 0x%02x is not UTF-8", data[at])
	}
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			// The offset counts the bytes read, including the wrong one.
			at := int(syntax.Offset)
			if !strings.Contains(syntax.Error(), "unexpected end") {
				at = max(0, at-1)
			}
			return at, jsontext.Explain(err)
		}
		return 0, err
	}
	return 0, errors.New("expected one JSON value")
}

// compact removes white space between the tokens of valid JSON. It returns the data itself if there is none.
func compact(data []byte) []byte {
	inString, escaped := false, false
	for _, b := range data {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = b == '\\'
			inString = b != '"'
		case b == '"':
			inString = true
		case b == ' ', b == '\n', b == '\t', b == '\r':
			var out bytes.Buffer
			out.Grow(len(data))
			if err := json.Compact(&out, data); err != nil {
				return data // cannot happen for valid JSON
			}
			return out.Bytes()
		}
	}
	return data
}

// inspector finds reasons to reject valid JSON: deep nesting and duplicate members.
type inspector struct {
	data  []byte
	at    int
	depth int
	twice bool // allow duplicate members
}

var (
	errTooDeep   = errors.New("too many levels")
	errDuplicate = errors.New("two members with the same name")
)

func (in *inspector) run() (int, error) {
	if err := in.value(0); err != nil {
		return in.at, err
	}
	return 0, nil
}

// space skips white space and returns the next byte.
func (in *inspector) space() byte {
	for {
		switch b := in.data[in.at]; b {
		case ' ', '\n', '\t', '\r':
			in.at++
		default:
			return b
		}
	}
}

// text skips a string and returns it with its quotes.
func (in *inspector) text() []byte {
	start := in.at
	for in.at++; in.data[in.at] != '"'; in.at++ {
		if in.data[in.at] == '\\' {
			in.at++
		}
	}
	in.at++
	return in.data[start:in.at]
}

// value skips a value inside level others, which is at most the depth.
func (in *inspector) value(level int) error {
	switch in.space() {
	case '{':
		return in.object(level + 1)
	case '[':
		return in.array(level + 1)
	case '"':
		in.text()
		return nil
	}
	for in.at < len(in.data) && !strings.ContainsRune(" \n\t\r,]}", rune(in.data[in.at])) {
		in.at++
	}
	return nil
}

func (in *inspector) array(level int) error {
	if level > in.depth {
		return fmt.Errorf("%w, more than %d, the limit Depth", errTooDeep, in.depth)
	}
	for in.at++; in.space() != ']'; {
		if err := in.value(level); err != nil {
			return err
		}
		if in.space() == ',' {
			in.at++
		}
	}
	in.at++
	return nil
}

// fewNames is the number of names up to which a search is faster than a map.
const fewNames = 8

func (in *inspector) object(level int) error {
	if level > in.depth {
		return fmt.Errorf("%w, more than %d, the limit Depth", errTooDeep, in.depth)
	}
	var few [fewNames][]byte
	names := few[:0]
	var many map[string]bool
	for in.at++; in.space() != '}'; {
		start := in.at
		name := in.text()
		if !in.twice {
			name = plainName(name)
			var seen bool
			if many != nil {
				seen = many[string(name)]
				many[string(name)] = true
			} else {
				for _, other := range names {
					seen = seen || bytes.Equal(other, name)
				}
				if names = append(names, name); len(names) == fewNames {
					many = make(map[string]bool, 4*fewNames)
					for _, name := range names {
						many[string(name)] = true
					}
				}
			}
			if seen {
				in.at = start
				return fmt.Errorf("%w, %q", errDuplicate, clip(string(name)))
			}
		}
		in.space()
		in.at++ // the colon
		if err := in.value(level); err != nil {
			return err
		}
		if in.space() == ',' {
			in.at++
		}
	}
	in.at++
	return nil
}

// plainName returns the value of a quoted name.
func plainName(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var name string
	if err := json.Unmarshal(quoted, &name); err != nil {
		return inner // cannot happen for valid JSON
	}
	return []byte(name)
}

// mediaType is the type of the body, in lower case without parameters; empty for none. An invalid one is returned as
// it is.
func (c *call) mediaType() string {
	header := c.r.Header.Get("Content-Type")
	if header == "" {
		return ""
	}
	kind, _, err := mime.ParseMediaType(header)
	if err != nil {
		return header
	}
	return kind
}

// isJSON reports whether a media type is JSON.
func isJSON(mediaType string) bool {
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}
