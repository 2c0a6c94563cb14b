package patch

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON strings and their values. An escape may be a lone half of a surrogate pair (RFC 8259, section 8.2), which is
// not a character; encoding/json replaces it with U+FFFD. Here a half keeps its value, in the three bytes that UTF-8
// would use, so different strings stay different.

// unquote returns the value of a valid JSON string.
func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	text := make([]byte, 0, len(inner))
	for len(inner) > 0 {
		if inner[0] != '\\' {
			end := bytes.IndexByte(inner, '\\')
			if end < 0 {
				end = len(inner)
			}
			text, inner = append(text, inner[:end]...), inner[end:]
			continue
		}
		if inner[1] != 'u' {
			text, inner = append(text, unescape(inner[1])), inner[2:]
			continue
		}
		r := unit(inner)
		inner = inner[6:]
		if !utf16.IsSurrogate(r) {
			text = utf8.AppendRune(text, r)
			continue
		}
		if len(inner) >= 6 && inner[0] == '\\' && inner[1] == 'u' {
			if pair := utf16.DecodeRune(r, unit(inner)); pair != utf8.RuneError {
				text, inner = utf8.AppendRune(text, pair), inner[6:]
				continue
			}
		}
		text = append(text, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
	}
	return string(text)
}

// unescape returns the character for a backslash and a letter.
func unescape(letter byte) byte {
	switch letter {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return letter // a quote, a slash or a backslash
}

// unit returns the code unit of a \u escape.
func unit(escape []byte) rune {
	n, err := strconv.ParseUint(string(escape[2:6]), 16, 16)
	if err != nil {
		return utf8.RuneError // in a valid string there is no error
	}
	return rune(n)
}

// quote is the inverse of unquote.
func quote(text string) []byte {
	quoted := []byte{'"'}
	for len(text) > 0 {
		half := halfIn(text)
		quoted = append(quoted, quoteWhole(text[:half])...)
		if text = text[half:]; text != "" {
			r := rune(text[0]&0x0F)<<12 | rune(text[1]&0x3F)<<6 | rune(text[2]&0x3F)
			quoted = append(quoted, `\u`+strconv.FormatUint(uint64(r), 16)...)
			text = text[3:]
		}
	}
	return append(quoted, '"')
}

// halfIn returns where the first half of a surrogate pair is, or the length.
func halfIn(text string) int {
	for i := 0; i+2 < len(text); i++ {
		if text[i] == 0xED && text[i+1] >= 0xA0 && text[i+1] <= 0xBF {
			return i
		}
	}
	return len(text)
}

// quoteWhole quotes a text without halves and omits the quotes.
func quoteWhole(text string) []byte {
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		return []byte(text) // of a string there is no error
	}
	return bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))[1 : quoted.Len()-2]
}
