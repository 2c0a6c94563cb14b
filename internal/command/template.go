package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/oolith-db/oolith/key"
)

// maxPath is the maximum length of a path in bytes.
const maxPath = 1024

// template builds the path of a record from its fields: --as 'cities/{country}/*'.
//
// A segment is literal text, a field in braces ({a.b} is field b of field a), a field with literal text around it
// ('user-{id}'), or, as the last one, '*': a generated index. A segment has at most one field, so different values
// never produce the same path.
type template struct {
	source   string
	segments []templateSegment
	// fields reports whether any segment needs the record.
	fields bool
	// generated reports whether the last segment is '*'.
	generated bool
}

// templateSegment is a prefix, the escaped value of the field, and a suffix; without a field only the prefix.
type templateSegment struct {
	prefix, suffix string
	field          []string
}

// parseTemplate parses the value of --as.
func parseTemplate(source string) (*template, error) {
	t := &template{source: source}
	parts := strings.Split(source, "/")
	for i, part := range parts {
		if part == "*" && i == len(parts)-1 {
			t.generated = true
			break
		}
		segment, err := parseTemplateSegment(part)
		if err != nil {
			return nil, fmt.Errorf("path template %q: segment %q, %w", source, part, err)
		}
		t.fields = t.fields || segment.field != nil
		t.segments = append(t.segments, segment)
	}
	return t, nil
}

func parseTemplateSegment(part string) (templateSegment, error) {
	prefix, rest, hasField := strings.Cut(part, "{")
	if !hasField {
		if part == "*" || strings.Contains(part, "*") {
			return templateSegment{}, errors.New("a '*' must be the whole last segment")
		}
		if !key.IsValid(part) {
			return templateSegment{}, errors.New("expected A-Z a-z 0-9 - _ . or a field in braces")
		}
		return templateSegment{prefix: part}, nil
	}
	name, suffix, closed := strings.Cut(rest, "}")
	if !closed {
		return templateSegment{}, errors.New("the '{' has no '}'")
	}
	if strings.Contains(suffix, "{") {
		return templateSegment{}, errors.New("expected at most one field in a segment")
	}
	// With a placeholder for the value, the rest must form a valid segment.
	if !key.IsValid(prefix+"x"+suffix) || strings.Contains(prefix+suffix, "*") {
		return templateSegment{}, errors.New("expected A-Z a-z 0-9 - _ . around the field")
	}
	field := strings.Split(name, ".")
	for _, step := range field {
		if step == "" {
			return templateSegment{}, errors.New("the field has an empty name, expected {name} or {outer.inner}")
		}
	}
	return templateSegment{prefix: prefix, suffix: suffix, field: field}, nil
}

// path returns the path of a record, with '*' at its end if the index is generated. The error says what the record
// lacks.
func (t *template) path(data json.RawMessage) (string, error) {
	var record map[string]json.RawMessage
	if t.fields {
		if first := bytes.TrimLeft(data, " \t\r\n"); len(first) == 0 || first[0] != '{' {
			return "", fmt.Errorf("the record is %s, expected an object with the fields of %q", kindOf(data), t.source)
		}
		if err := json.Unmarshal(data, &record); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	for i, segment := range t.segments {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(segment.prefix)
		if segment.field == nil {
			continue
		}
		value, err := fieldText(record, segment.field)
		if err != nil {
			return "", err
		}
		b.WriteString(key.Escape(value))
		b.WriteString(segment.suffix)
	}
	if t.generated {
		if len(t.segments) > 0 {
			b.WriteByte('/')
		}
		b.WriteByte('*')
	}
	if b.Len() > maxPath {
		return "", fmt.Errorf("the path is %d bytes long, expected at most %d", b.Len(), maxPath)
	}
	return b.String(), nil
}

// pattern returns a glob that matches every path of the template, for examples.
func (t *template) pattern() string {
	parts := make([]string, 0, len(t.segments)+1)
	for _, segment := range t.segments {
		if segment.field != nil {
			parts = append(parts, segment.prefix+"*"+segment.suffix)
		} else {
			parts = append(parts, segment.prefix)
		}
	}
	if t.generated {
		parts = append(parts, "*")
	}
	return strings.Join(parts, "/")
}

// fieldText returns the text of a scalar field: strings without quotes, numbers and booleans as they are written.
func fieldText(record map[string]json.RawMessage, field []string) (string, error) {
	for i, step := range field {
		value, ok := record[step]
		name := strings.Join(field[:i+1], ".")
		if !ok {
			return "", fmt.Errorf("field %q is missing", name)
		}
		if i == len(field)-1 {
			return scalarText(name, value)
		}
		if value[0] != '{' {
			return "", fmt.Errorf("field %q is %s, expected an object with the field %q", name, kindOf(value), field[i+1])
		}
		record = nil
		if err := json.Unmarshal(value, &record); err != nil {
			return "", fmt.Errorf("field %q: %w", name, err)
		}
	}
	return "", errors.New("the field has no name")
}

func scalarText(name string, value json.RawMessage) (string, error) {
	switch value[0] {
	case '{', '[', 'n':
		return "", fmt.Errorf("field %q is %s, expected a string, a number or a boolean", name, kindOf(value))
	case '"':
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return "", fmt.Errorf("field %q: %w", name, err)
		}
		// The decoder replaces invalid bytes with U+FFFD. Two such values would share a path, and one would overwrite
		// the other.
		if strings.ContainsRune(text, utf8.RuneError) {
			return "", fmt.Errorf("field %q is not valid UTF-8 text", name)
		}
		return text, nil
	default:
		return string(value), nil
	}
}

// kindOf names the kind of a JSON value for an error message.
func kindOf(value json.RawMessage) string {
	value = bytes.TrimLeft(value, " \t\r\n")
	if len(value) == 0 {
		return "empty"
	}
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
