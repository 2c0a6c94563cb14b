package live

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// deepest is the maximum depth of a difference. Deeper differences are replacements.
const deepest = 32

// difference is a JSON Patch under construction.
type difference struct {
	ops []byte
	// unsafe means that a pointer has a segment that clients reject, such as "__proto__".
	unsafe bool
}

func (d *difference) add(op, pointer string, value []byte) {
	if len(d.ops) > 0 {
		d.ops = append(d.ops, ',')
	}
	d.ops = append(d.ops, `{"op":"`...)
	d.ops = append(d.ops, op...)
	d.ops = append(d.ops, `","path":`...)
	d.ops = appendText(d.ops, pointer)
	if value != nil {
		d.ops = append(d.ops, `,"value":`...)
		d.ops = append(d.ops, value...)
	}
	d.ops = append(d.ops, '}')
	d.unsafe = d.unsafe || strings.Contains(pointer, "/__proto__") || strings.Contains(pointer, "/constructor") ||
		strings.Contains(pointer, "/prototype")
}

// compare adds the operations that turn one compact JSON value into another.
func (d *difference) compare(pointer string, before, after []byte, depth int) {
	switch {
	case bytes.Equal(before, after):
		return
	case depth < deepest && before[0] == '{' && after[0] == '{':
		if d.compareObjects(pointer, before, after, depth) {
			return
		}
	case depth < deepest && before[0] == '[' && after[0] == '[':
		if d.compareArrays(pointer, before, after, depth) {
			return
		}
	}
	d.add("replace", pointer, after)
}

func (d *difference) compareObjects(pointer string, before, after []byte, depth int) bool {
	was, now := members(before), members(after)
	if was == nil || now == nil {
		return false
	}
	for _, name := range sortedNames(was) {
		if _, there := now[name]; !there {
			d.add("remove", pointer+"/"+escape(name), nil)
		}
	}
	for _, name := range sortedNames(now) {
		place := pointer + "/" + escape(name)
		if old, there := was[name]; there {
			d.compare(place, old, now[name], depth+1)
		} else {
			d.add("add", place, now[name])
		}
	}
	return true
}

// members returns the members of an object, or nil if names are ambiguous: half a surrogate pair decodes to a
// replacement character.
func members(object []byte) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(object, &m) != nil {
		return nil
	}
	for name := range m {
		if strings.ContainsRune(name, utf8.RuneError) {
			return nil
		}
	}
	return m
}

func sortedNames(m map[string]json.RawMessage) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// compareArrays keeps equal items at both ends and changes the rest.
func (d *difference) compareArrays(pointer string, before, after []byte, depth int) bool {
	var was, now []json.RawMessage
	if json.Unmarshal(before, &was) != nil || json.Unmarshal(after, &now) != nil {
		return false
	}
	first := 0
	for len(was) > 0 && len(now) > 0 && bytes.Equal(was[0], now[0]) {
		was, now = was[1:], now[1:]
		first++
	}
	for len(was) > 0 && len(now) > 0 && bytes.Equal(was[len(was)-1], now[len(now)-1]) {
		was, now = was[:len(was)-1], now[:len(now)-1]
	}
	at := func(i int) string { return pointer + "/" + strconv.Itoa(first+i) }
	common := min(len(was), len(now))
	for i := len(was) - 1; i >= common; i-- {
		d.add("remove", at(i), nil)
	}
	for i := range common {
		d.compare(at(i), was[i], now[i], depth+1)
	}
	for i := common; i < len(now); i++ {
		d.add("add", at(i), now[i])
	}
	return true
}

// escape converts a name into a segment of a JSON Pointer.
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
