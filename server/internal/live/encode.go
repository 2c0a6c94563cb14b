package live

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/oolith-db/oolith/meta"
)

// absent is how the older protocol sends an absent object.
const absent = `{"created":0,"updated":0,"index":"","data":{}}`

// appendText appends a JSON string.
func appendText(dst []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			encoded, err := json.Marshal(text)
			if err != nil { // encoding a string cannot fail
				return append(dst, `""`...)
			}
			return append(dst, encoded...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, text...)
	return append(dst, '"')
}

// appendData appends the data of an object without white space. Old databases may hold invalid UTF-8, which a text
// frame cannot contain, or invalid JSON, which is sent as null.
func appendData(dst []byte, data json.RawMessage) []byte {
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	out := bytes.NewBuffer(dst)
	if err := json.Compact(out, data); err != nil {
		return append(dst, "null"...)
	}
	return out.Bytes()
}

// appendWire appends an object in the older protocol: exactly these members.
func appendWire(dst []byte, obj *meta.Object) []byte {
	if obj == nil {
		return append(dst, absent...)
	}
	dst = appendHead(dst, obj)
	dst = append(dst, `,"data":`...)
	dst = appendData(dst, obj.Data)
	return append(dst, '}')
}

// appendHead appends the members that begin an object in every protocol.
func appendHead(dst []byte, obj *meta.Object) []byte {
	dst = append(dst, `{"created":`...)
	dst = strconv.AppendInt(dst, obj.Created, 10)
	dst = append(dst, `,"updated":`...)
	dst = strconv.AppendInt(dst, obj.Updated, 10)
	dst = append(dst, `,"index":`...)
	dst = appendText(dst, obj.Index)
	dst = append(dst, `,"path":`...)
	return appendText(dst, obj.Path)
}

// appendObject appends an object in our own protocols.
func appendObject(dst []byte, obj *meta.Object) []byte {
	dst = appendHead(dst, obj)
	dst = append(dst, `,"revision":`...)
	dst = strconv.AppendUint(dst, obj.Revision, 10)
	if obj.Expires != 0 {
		dst = append(dst, `,"expires":`...)
		dst = strconv.AppendInt(dst, obj.Expires, 10)
	}
	dst = append(dst, `,"data":`...)
	dst = appendData(dst, obj.Data)
	return append(dst, '}')
}

// appendArray appends a JSON array, an element for each item.
func appendArray[E any](dst []byte, items []E, element func([]byte, E) []byte) []byte {
	dst = append(dst, '[')
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = element(dst, item)
	}
	return append(dst, ']')
}

// sizeOf is the approximate size of objects in a message.
func sizeOf(objects ...*meta.Object) (size int) {
	for _, obj := range objects {
		if obj != nil {
			size += len(obj.Data) + len(obj.Path) + len(obj.Index) + 120
		}
	}
	return size
}
