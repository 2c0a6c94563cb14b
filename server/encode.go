package server

import (
	"encoding/json"
	"strconv"

	"github.com/oolith-db/oolith/meta"
)

// fullType is the media type of objects with all metadata, including revision and expires. application/json has only
// the members that older clients know.
const fullType = "application/vnd.oolith+json"

// appendObject appends an object as JSON. Paths need no escaping.
func appendObject(b []byte, obj *meta.Object, full bool) []byte {
	b = append(b, `{"created":`...)
	b = strconv.AppendInt(b, obj.Created, 10)
	b = append(b, `,"updated":`...)
	b = strconv.AppendInt(b, obj.Updated, 10)
	b = append(b, `,"index":"`...)
	b = append(b, obj.Index...)
	b = append(b, `","path":"`...)
	b = append(b, obj.Path...)
	b = append(b, `","data":`...)
	b = append(b, obj.Data...)
	if full {
		b = append(b, `,"revision":`...)
		b = strconv.AppendUint(b, obj.Revision, 10)
		if obj.Expires != 0 {
			b = append(b, `,"expires":`...)
			b = strconv.AppendInt(b, obj.Expires, 10)
		}
	}
	return append(b, '}')
}

func rawObject(obj *meta.Object, full bool) json.RawMessage {
	return appendObject(make([]byte, 0, len(obj.Data)+len(obj.Path)+160), obj, full)
}

// appendList appends objects as a JSON array.
func appendList(objects []meta.Object, full bool) []byte {
	size := 2
	for i := range objects {
		size += len(objects[i].Data) + 2*len(objects[i].Path) + 120
	}
	b := append(make([]byte, 0, size), '[')
	for i := range objects {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendObject(b, &objects[i], full)
	}
	return append(b, ']')
}

// full reports whether the request asks for all metadata, and returns the media type of the answer.
func (c *call) full() (bool, string) {
	if c.accepts(fullType) {
		return true, fullType
	}
	return false, "application/json"
}
