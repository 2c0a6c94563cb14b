// Package jsontext describes invalid JSON in words for users. The errors of encoding/json are written for its own
// developers.
package jsontext

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Explain returns an error with a plain text for an error of encoding/json, and any other error unchanged. The text has
// no position: a *json.SyntaxError has the offset, and errors.As still finds it. Explain returns nil for nil.
func Explain(err error) error {
	if text := explain(err); text != "" {
		return &explained{text, err}
	}
	return err
}

// explained is an error of encoding/json with a text of ours.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

const incomplete = "the JSON is incomplete"

func explain(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &syntax):
		return explainSyntax(syntax.Error())
	case errors.As(err, &kind):
		if kind.Field == "" {
			return fmt.Sprintf("it is %s, expected %s", found(kind.Value), kindOf(kind.Type))
		}
		return fmt.Sprintf("member %q is %s, expected %s", kind.Field, found(kind.Value), kindOf(kind.Type))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return incomplete
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return "unknown member " + name
	}
	return ""
}

// explainSyntax translates the text of a *json.SyntaxError, which has no kind to tell errors apart.
func explainSyntax(text string) string {
	rest, isCharacter := strings.CutPrefix(text, "invalid character ")
	switch {
	case strings.HasSuffix(text, "exceeded max depth"):
		return "the JSON has more than 10,000 levels"
	case strings.HasPrefix(text, "unexpected end"):
		return incomplete
	case strings.HasPrefix(text, "expected "): // of a json.Decoder that reads tokens
		return text
	case !isCharacter:
		return "a syntax error"
	}
	end := strings.Index(rest[1:], "' ") + 2 // the character is quoted, and may be a quote or a blank
	return "unexpected " + rest[:end] + expectation(strings.TrimPrefix(rest[end:], " "))
}

// expectation says what was expected in a state of encoding/json's scanner.
func expectation(state string) string {
	switch {
	case state == "after top-level value":
		return " after the value"
	case state == "looking for beginning of value":
		return ", expected a value"
	case state == "looking for beginning of object key string":
		return `, expected a member name in quotes`
	case state == "after object key":
		return ", expected a colon after the member name"
	case state == "after object key:value pair":
		return ", expected a comma or '}'"
	case state == "after array element":
		return ", expected a comma or ']'"
	case state == "in string literal":
		return " in a string, expected it escaped"
	case strings.Contains(state, "escape"):
		return ` in an escape sequence, expected one such as \n or \u00e9`
	case strings.Contains(state, "numeric literal"), strings.Contains(state, "number"):
		return " in a number, expected a digit"
	case strings.HasPrefix(state, "in literal "):
		word, _, _ := strings.Cut(strings.TrimPrefix(state, "in literal "), " ")
		return ", expected " + word
	}
	return ""
}

// found puts an article before a kind of encoding/json, such as "array" or "number 1e400".
func found(kind string) string {
	if strings.HasPrefix(kind, "array") || strings.HasPrefix(kind, "object") {
		return "an " + kind
	}
	return "a " + kind
}

// kindOf names the JSON kind for a Go type.
func kindOf(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}
