package patch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/oolith-db/oolith/internal/jsontext"
	"github.com/oolith-db/oolith/internal/jsonvalid"
)

// value is a JSON value that can be changed in place. Members and items are pointers, and no two places of a document
// share one.
type value struct {
	kind    kind
	text    []byte   // of a string, number, boolean or null: as it is written
	items   sequence // of an array
	members []member // of an object; deleted members have no value
	removed int      // how many of members were
	// places maps names to indexes in members; nil for few members.
	places map[string]int
	// twice is a name that occurs twice in a parsed object; "" for none.
	twice string
}

type kind uint8

const (
	scalar kind = iota
	array
	object
)

// member is a member of an object.
type member struct {
	name   string
	quoted []byte // the name as it is written, with its quotes
	value  *value
}

// fewMembers is the number of members up to which a search is faster than a map.
const fewMembers = 8

var errNotJSON = errors.New("invalid JSON")

// parse reads one JSON value, whose memory the result keeps. A document of old may hold what is no UTF-8: a patch that
// takes it away can be stored.
func parse(data []byte) (*value, error) {
	if !jsonvalid.Grammar(data) {
		// Decoding says where it breaks.
		if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
			return nil, fmt.Errorf("%w, %w", errNotJSON, jsontext.Explain(err))
		}
		return nil, errNotJSON
	}
	p := parser{rest: data}
	return p.value(0)
}

// parser parses valid JSON.
type parser struct{ rest []byte }

// next skips white space and returns the next byte without consuming it.
func (p *parser) next() byte {
	p.rest = bytes.TrimLeft(p.rest, " \t\r\n")
	return p.rest[0]
}

// take returns the next n bytes.
func (p *parser) take(n int) []byte {
	taken := p.rest[:n:n]
	p.rest = p.rest[n:]
	return taken
}

// value parses a value inside depth others.
func (p *parser) value(depth int) (*value, error) {
	next := p.next()
	if level := next == '{' || next == '['; level && depth == MaxDepth {
		return nil, errTooDeep
	}
	switch next {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"':
		return &value{text: p.string()}, nil
	}
	end := bytes.IndexAny(p.rest, " \t\r\n,]}")
	if end < 0 {
		end = len(p.rest)
	}
	return &value{text: p.take(end)}, nil
}

var errTooDeep = fmt.Errorf("%w, more than %d levels", ErrLimit, MaxDepth)

// string parses a string with its quotes.
func (p *parser) string() []byte {
	end := 1
	for p.rest[end] != '"' {
		if p.rest[end] == '\\' {
			end++
		}
		end++
	}
	return p.take(end + 1)
}

func (p *parser) array(depth int) (*value, error) {
	v := &value{kind: array}
	for p.take(1); p.next() != ']'; {
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v.items.append(item)
		if p.next() == ',' {
			p.take(1)
		}
	}
	p.take(1)
	return v, nil
}

func (p *parser) object(depth int) (*value, error) {
	v := &value{kind: object}
	for p.take(1); p.next() != '}'; {
		quoted := p.string()
		p.next()
		p.take(1) // the colon
		content, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		name := unquote(quoted)
		if v.get(name) != nil {
			v.twice = name
		}
		v.set(name, quoted, content)
		if p.next() == ',' {
			p.take(1)
		}
	}
	p.take(1)
	return v, nil
}

// find returns the index of a name in members, or -1.
func (v *value) find(name string) int {
	if v.places != nil {
		if at, ok := v.places[name]; ok {
			return at
		}
		return -1
	}
	for i := range v.members {
		if v.members[i].value != nil && v.members[i].name == name {
			return i
		}
	}
	return -1
}

// get returns the member with a name; nil for none.
func (v *value) get(name string) *value {
	if at := v.find(name); at >= 0 {
		return v.members[at].value
	}
	return nil
}

// set replaces the member with a name, or appends one.
func (v *value) set(name string, quoted []byte, content *value) {
	if at := v.find(name); at >= 0 {
		v.members[at].value = content
		return
	}
	v.members = append(v.members, member{name, quoted, content})
	switch {
	case v.places != nil:
		v.places[name] = len(v.members) - 1
	case len(v.members) > fewMembers:
		v.places = make(map[string]int, 2*len(v.members))
		for i := range v.members {
			if v.members[i].value != nil {
				v.places[v.members[i].name] = i
			}
		}
	}
}

// remove removes the member with a name and reports whether it existed.
func (v *value) remove(name string) bool {
	at := v.find(name)
	if at < 0 {
		return false
	}
	v.members[at].value = nil
	v.removed++
	delete(v.places, name)
	return true
}

// size is the number of members of an object.
func (v *value) size() int { return len(v.members) - v.removed }

func (v *value) isNull() bool { return v.kind == scalar && v.text[0] == 'n' }

// clone returns a copy that shares only immutable parts.
func (v *value) clone() *value {
	c := &value{kind: v.kind, text: v.text}
	for item := range v.items.all() {
		c.items.append(item.clone())
	}
	for i := range v.members {
		if m := &v.members[i]; m.value != nil {
			c.set(m.name, m.quoted, m.value.clone())
		}
	}
	return c
}

// encode writes the value as JSON.
func (v *value) encode() ([]byte, error) {
	data, ok := v.append(nil, 0)
	if !ok {
		return nil, errTooDeep
	}
	return data, nil
}

// append encodes the value, which is inside depth others. It returns false if the value is too deep.
func (v *value) append(data []byte, depth int) (_ []byte, ok bool) {
	if depth > MaxDepth {
		return data, false
	}
	switch v.kind {
	case array:
		data = append(data, '[')
		first := true
		for item := range v.items.all() {
			if !first {
				data = append(data, ',')
			}
			first = false
			if data, ok = item.append(data, depth+1); !ok {
				return data, false
			}
		}
		return append(data, ']'), true
	case object:
		data = append(data, '{')
		first := true
		for i := range v.members {
			m := &v.members[i]
			if m.value == nil {
				continue
			}
			if !first {
				data = append(data, ',')
			}
			first = false
			data = append(append(data, m.quoted...), ':')
			if data, ok = m.value.append(data, depth+1); !ok {
				return data, false
			}
		}
		return append(data, '}'), true
	}
	return append(data, v.text...), true
}

// length is the approximate length of the encoded value. It returns more than most if the length exceeds most, or if
// the value, which is inside depth others, is too deep.
func (v *value) length(most, depth int) int {
	if depth > MaxDepth {
		return most + 1
	}
	n := len(v.text) + 2
	for item := range v.items.all() {
		if n > most {
			return n
		}
		n += item.length(most-n, depth+1) + 1
	}
	for i := range v.members {
		if n > most {
			return n
		}
		if m := &v.members[i]; m.value != nil {
			n += len(m.quoted) + m.value.length(most-n, depth+1) + 2
		}
	}
	return n
}
