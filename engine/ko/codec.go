package ko

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// The parts of an entry, in order. Revision and expires are left out if they are zero, as encoding/json does.
const (
	createdPart  = `{"created":`
	updatedPart  = `,"updated":`
	indexPart    = `,"index":"`
	pathPart     = `","path":"`
	dataPart     = `","data":`
	revisionPart = `,"revision":`
	expiresPart  = `,"expires":`
	endPart      = `}`
)

// entryOverhead is a upper bound of the size of an entry besides the path, the index and the data: the parts, three
// signed numbers and one unsigned.
const entryOverhead = len(createdPart+updatedPart+indexPart+pathPart+dataPart+revisionPart+expiresPart+endPart) + 4*20

// entrySize returns a upper bound of the length of an entry.
func entrySize(path string, obj *meta.Object) int {
	return entryOverhead + 2*len(path) + len(obj.Data)
}

// appendEntry appends the entry of an object. A path needs no escapes in JSON. Data bypasses encoding/json, which
// would remove its white space and escape HTML.
func appendEntry(dst []byte, path string, obj *meta.Object) []byte {
	dst = append(dst, createdPart...)
	dst = strconv.AppendInt(dst, obj.Created, 10)
	dst = append(dst, updatedPart...)
	dst = strconv.AppendInt(dst, obj.Updated, 10)
	dst = append(dst, indexPart...)
	dst = append(dst, key.LastIndex(path)...)
	dst = append(dst, pathPart...)
	dst = append(dst, path...)
	dst = append(dst, dataPart...)
	dst = append(dst, obj.Data...)
	if obj.Revision != 0 {
		dst = append(dst, revisionPart...)
		dst = strconv.AppendUint(dst, obj.Revision, 10)
	}
	if obj.Expires != 0 {
		dst = append(dst, expiresPart...)
		dst = strconv.AppendInt(dst, obj.Expires, 10)
	}
	return append(dst, endPart...)
}

// errNoData reports an entry without a value.
var errNoData = errors.New("it has no data")

// decodeEntry decodes the entry of the object at path. The object shares no memory with the entry.
func decodeEntry(path string, entry []byte) (meta.Object, error) {
	obj, ok := cutEntry(entry)
	if !ok {
		var err error
		if obj, err = parseEntry(entry); err != nil {
			return meta.Object{}, fmt.Errorf("key %q: the stored value is no object, %w; or leave such entries out with invalid=skip",
				path, enginekit.Undecodable(err))
		}
	}
	obj.Path, obj.Index = path, key.LastIndex(path)
	obj.Data = slices.Clip(bytes.Clone(obj.Data))
	return obj, nil
}

// parseEntry decodes any JSON of an object. White space around the data is not a part of it: an entry in this form
// has white space elsewhere too.
func parseEntry(entry []byte) (meta.Object, error) {
	var obj meta.Object
	if err := json.Unmarshal(entry, &obj); err != nil {
		return meta.Object{}, err
	}
	if len(obj.Data) == 0 {
		return meta.Object{}, errNoData
	}
	return obj, nil
}

// cutEntry decodes an entry in the exact form in which appendEntry, and encoding/json without indentation, write it.
// In this form, everything between the part before the data and the parts after it is data, including its white
// space. The parts after the data are searched from the end: no JSON value ends like one. cutEntry is also several
// times as fast as encoding/json. The object's data is a part of the entry; its path is not decoded.
func cutEntry(entry []byte) (obj meta.Object, ok bool) {
	c := cutter{rest: entry, ok: true}
	c.literal(createdPart)
	obj.Created = c.number()
	c.literal(updatedPart)
	obj.Updated = c.number()
	c.literal(indexPart)
	c.text()
	if c.ok && bytes.HasPrefix(c.rest, []byte(pathPart)) {
		c.literal(pathPart)
		c.text()
	}
	c.literal(dataPart)
	data, closed := bytes.CutSuffix(c.rest, []byte(endPart))
	if !c.ok || !closed {
		return meta.Object{}, false
	}
	if before, digits := cutTail(data, expiresPart); digits != "" {
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return meta.Object{}, false
		}
		data, obj.Expires = before, n
	}
	if before, digits := cutTail(data, revisionPart); digits != "" {
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return meta.Object{}, false
		}
		data, obj.Revision = before, n
	}
	obj.Data = data
	return obj, jsonvalid.Grammar(data)
}

// cutter reads an entry from its beginning. After the first unexpected input, ok is false, and its results are
// meaningless.
type cutter struct {
	rest []byte
	ok   bool
}

func (c *cutter) literal(text string) {
	if !c.ok || len(c.rest) < len(text) || string(c.rest[:len(text)]) != text {
		c.ok = false
		return
	}
	c.rest = c.rest[len(text):]
}

// number reads an integer.
func (c *cutter) number() int64 {
	end := 0
	for end < len(c.rest) && (isDigit(c.rest[end]) || end == 0 && c.rest[0] == '-') {
		end++
	}
	if !c.ok || !isInteger(c.rest[:end]) {
		c.ok = false
		return 0
	}
	n, err := strconv.ParseInt(string(c.rest[:end]), 10, 64)
	c.ok = err == nil
	c.rest = c.rest[end:]
	return n
}

// text skips the inside of a string without escapes, up to its last quote.
func (c *cutter) text() {
	end := bytes.IndexByte(c.rest, '"')
	if !c.ok || end < 0 {
		c.ok = false
		return
	}
	for _, b := range c.rest[:end] {
		if b < 0x20 || b == '\\' {
			c.ok = false
			return
		}
	}
	c.rest = c.rest[end:]
}

// cutTail cuts a named integer off the end; digits is empty if there is none.
func cutTail(data []byte, name string) (before []byte, digits string) {
	start := len(data)
	for start > 0 && isDigit(data[start-1]) {
		start--
	}
	if start > 0 && data[start-1] == '-' {
		start--
	}
	before, ok := bytes.CutSuffix(data[:start], []byte(name))
	if !ok || !isInteger(data[start:]) {
		return data, ""
	}
	return before, string(data[start:])
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// isInteger reports whether digits, with or without a sign, are an integer of JSON.
func isInteger(digits []byte) bool {
	digits = bytes.TrimPrefix(digits, []byte("-"))
	return len(digits) > 0 && (digits[0] != '0' || len(digits) == 1)
}
