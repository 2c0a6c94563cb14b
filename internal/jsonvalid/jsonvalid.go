// Package jsonvalid validates JSON, several times as fast as encoding/json. Every write of the store uses it.
//
// The grammar is RFC 8259. Like encoding/json, it rejects nesting deeper than 10,000 levels, and accepts an escape of
// half a surrogate pair.
package jsonvalid

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is the limit on nesting in encoding/json.
const maxDepth = 10000

// plain marks the bytes of a string that need no further check: no quote, no backslash, no control character.
var plain = func() (table [256]bool) {
	for c := range table {
		table[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return table
}()

// Valid reports whether data is one JSON value in UTF-8, optionally surrounded by white space.
func Valid(data []byte) bool {
	// The grammar allows bytes beyond ASCII only in strings, so the encoding can be checked separately.
	return Grammar(data) && utf8.Valid(data)
}

// NotUTF8 returns the offset of the first byte that is not valid UTF-8, or -1 if there is none.
func NotUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// Grammar is Valid without the check of the encoding, like encoding/json. Old stores may hold strings that are not
// valid UTF-8.
func Grammar(data []byte) bool {
	i, ok := value(data, space(data, 0), 0)
	return ok && space(data, i) == len(data)
}

// Every function below takes the position to read from and returns the position after what it read.

func space(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

func value(data []byte, i, depth int) (int, bool) {
	if i >= len(data) {
		return i, false
	}
	switch c := data[i]; c {
	case '"':
		return str(data, i+1)
	case '{':
		return object(data, i+1, depth+1)
	case '[':
		return array(data, i+1, depth+1)
	case 't':
		return literal(data, i, "true")
	case 'f':
		return literal(data, i, "false")
	case 'n':
		return literal(data, i, "null")
	default:
		return number(data, i)
	}
}

func object(data []byte, i, depth int) (int, bool) {
	if depth > maxDepth {
		return i, false
	}
	if i = space(data, i); i < len(data) && data[i] == '}' {
		return i + 1, true
	}
	for {
		if i = space(data, i); i >= len(data) || data[i] != '"' {
			return i, false
		}
		var ok bool
		if i, ok = str(data, i+1); !ok {
			return i, false
		}
		if i = space(data, i); i >= len(data) || data[i] != ':' {
			return i, false
		}
		if i, ok = value(data, space(data, i+1), depth); !ok {
			return i, false
		}
		if i = space(data, i); i >= len(data) {
			return i, false
		}
		switch data[i] {
		case ',':
			i++
		case '}':
			return i + 1, true
		default:
			return i, false
		}
	}
}

func array(data []byte, i, depth int) (int, bool) {
	if depth > maxDepth {
		return i, false
	}
	if i = space(data, i); i < len(data) && data[i] == ']' {
		return i + 1, true
	}
	for {
		var ok bool
		if i, ok = value(data, space(data, i), depth); !ok {
			return i, false
		}
		if i = space(data, i); i >= len(data) {
			return i, false
		}
		switch data[i] {
		case ',':
			i++
		case ']':
			return i + 1, true
		default:
			return i, false
		}
	}
}

// str reads a string after its opening quote.
func str(data []byte, i int) (int, bool) {
	for i < len(data) {
		if len(data)-i >= 8 {
			special := specials(binary.LittleEndian.Uint64(data[i:]))
			if special == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(special) / 8
		}
		c := data[i]
		if plain[c] {
			i++
			continue
		}
		if c == '"' {
			return i + 1, true
		}
		if c != '\\' || i+1 >= len(data) {
			return i, false
		}
		switch data[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			if len(data)-i < 6 || !hex(data[i+2]) || !hex(data[i+3]) || !hex(data[i+4]) || !hex(data[i+5]) {
				return i, false
			}
			i += 6
		default:
			return i, false
		}
	}
	return i, false
}

// specials sets the high bit of each of eight bytes that is not plain; the lowest byte is the first. Bits after the
// first set one may be wrong, because subtractions borrow. See "Determine if a word has a byte less than n" in S. E.
// Anderson's Bit Twiddling Hacks.
func specials(eight uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quotes, backslashes := eight^'"'*ones, eight^'\\'*ones
	return (eight-0x20*ones)&^eight&highs | (quotes-ones)&^quotes&highs | (backslashes-ones)&^backslashes&highs
}

func hex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func literal(data []byte, i int, word string) (int, bool) {
	if len(data)-i < len(word) || string(data[i:i+len(word)]) != word {
		return i, false
	}
	return i + len(word), true
}

func number(data []byte, i int) (int, bool) {
	if i < len(data) && data[i] == '-' {
		i++
	}
	ok := true
	if i < len(data) && data[i] == '0' {
		i++
	} else if i, ok = digits(data, i); !ok {
		return i, false
	}
	if i < len(data) && data[i] == '.' {
		if i, ok = digits(data, i+1); !ok {
			return i, false
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		return digits(data, i)
	}
	return i, true
}

// digits reads at least one digit.
func digits(data []byte, i int) (int, bool) {
	start := i
	for i < len(data) && '0' <= data[i] && data[i] <= '9' {
		i++
	}
	return i, i > start
}
