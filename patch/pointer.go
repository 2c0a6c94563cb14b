package patch

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// pointer is a JSON Pointer (RFC 6901): the names and indexes from the root; nil for the root.
type pointer []string

// parsePointer parses a pointer: "" or "/a/0", with ~1 for a slash and ~0 for a tilde.
func parsePointer(text string) (pointer, error) {
	if text == "" {
		return nil, nil
	}
	if text[0] != '/' {
		return nil, fmt.Errorf("the pointer %s does not begin with a slash", clip(text))
	}
	tokens := strings.Split(text[1:], "/")
	if len(tokens) > MaxDepth {
		return nil, fmt.Errorf("%w, a pointer of %d levels, at most %d", ErrLimit, len(tokens), MaxDepth)
	}
	for i, token := range tokens {
		rest := token
		for {
			_, after, found := strings.Cut(rest, "~")
			if !found {
				break
			}
			if after == "" || after[0] != '0' && after[0] != '1' {
				return nil, fmt.Errorf("the pointer %s has a '~' that is not followed by 0 or 1", clip(text))
			}
			rest = after
		}
		// In this order: "~01" is "~1".
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return tokens, nil
}

// isProperPrefixOf reports whether other is inside of p.
func (p pointer) isProperPrefixOf(other pointer) bool {
	return len(p) < len(other) && slices.Equal(p, other[:len(p)])
}

// String is the inverse of parsePointer.
func (p pointer) String() string {
	var text strings.Builder
	for _, token := range p {
		text.WriteByte('/')
		text.WriteString(strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1"))
	}
	return text.String()
}

var errNothingThere = errors.New("there is no value")

// in returns the value at the pointer.
func (p pointer) in(root *value) (*value, error) {
	v := root
	for i, token := range p {
		var child *value
		switch v.kind {
		case object:
			child = v.get(token)
		case array:
			at, err := index(token, v.items.len()-1)
			if err != nil {
				return nil, fmt.Errorf("at %s: %w", clip(p[:i+1].String()), err)
			}
			child = v.items.at(at)
		default:
			return nil, fmt.Errorf("at %s: expected an object or an array as its parent, found %s", clip(p[:i+1].String()), clip(string(v.text)))
		}
		if child == nil {
			return nil, fmt.Errorf("at %s: %w", clip(p[:i+1].String()), errNothingThere)
		}
		v = child
	}
	return v, nil
}

// index parses an array index of at most last.
func index(token string, last int) (int, error) {
	n := int64(0)
	for i := range len(token) {
		c := token[i]
		if c < '0' || c > '9' || i == 0 && c == '0' && len(token) > 1 {
			return 0, fmt.Errorf("%s is not an index of an array", clip(token))
		}
		if n = 10*n + int64(c-'0'); n > math.MaxInt32 {
			break
		}
	}
	switch {
	case token == "":
		return 0, errors.New(`"" is not an index of an array`)
	case n > int64(last):
		return 0, fmt.Errorf("the index %s is past the end of the array", clip(token))
	}
	return int(n), nil
}
