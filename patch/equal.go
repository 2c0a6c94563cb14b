package patch

import (
	"bytes"
	"math/big"
	"strings"
)

// equal is the equality of RFC 6902, section 4.6, which compares values, not spellings.
func (v *value) equal(other *value) bool {
	if v.kind != other.kind {
		return false
	}
	switch v.kind {
	case array:
		if v.items.len() != other.items.len() {
			return false
		}
		at := 0
		for item := range v.items.all() {
			if !item.equal(other.items.at(at)) {
				return false
			}
			at++
		}
		return true
	case object:
		if v.size() != other.size() {
			return false
		}
		for i := range v.members {
			m := &v.members[i]
			if m.value == nil {
				continue
			}
			if counterpart := other.get(m.name); counterpart == nil || !m.value.equal(counterpart) {
				return false
			}
		}
		return true
	}
	return equalScalars(v.text, other.text)
}

func equalScalars(a, b []byte) bool {
	switch {
	case bytes.Equal(a, b):
		return true
	case a[0] == '"' || b[0] == '"':
		return a[0] == b[0] && mayBeEqual(a, b) && unquote(a) == unquote(b)
	case isNumber(a) && isNumber(b):
		return len(a) <= maxNumber && len(b) <= maxNumber && equalNumbers(string(a), string(b))
	}
	return false
}

// maxNumber is the maximum length of a number that is compared by value. Longer numbers make no sense and are
// expensive.
const maxNumber = 1000

// mayBeEqual returns false for strings whose lengths differ so much that no spelling makes them equal: at most six
// bytes encode one. The cost of a test therefore depends on the patch, not on the document.
func mayBeEqual(a, b []byte) bool {
	return len(a)-2 <= 6*(len(b)-2) && len(b)-2 <= 6*(len(a)-2)
}

func isNumber(text []byte) bool { return text[0] == '-' || '0' <= text[0] && text[0] <= '9' }

// equalNumbers compares by value, exactly, at a cost that does not depend on the exponent.
func equalNumbers(a, b string) bool {
	da, ea := decimal(a)
	db, eb := decimal(b)
	return da == db && (da == "" || ea.Cmp(eb) == 0)
}

// decimal splits a number into sign and digits, without leading and trailing zeros, and the power of ten of its last
// digit. Zero has no digits.
func decimal(number string) (digits string, exponent *big.Int) {
	mantissa, power, _ := strings.Cut(strings.ToLower(number), "e")
	exponent = new(big.Int)
	if power != "" {
		exponent.SetString(power, 10)
	}
	sign := ""
	if rest, negative := strings.CutPrefix(mantissa, "-"); negative {
		sign, mantissa = "-", rest
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	trimmed := strings.TrimRight(digits, "0")
	if trimmed == "" {
		return "", exponent
	}
	shift := len(digits) - len(trimmed) - len(fraction)
	return sign + trimmed, exponent.Add(exponent, big.NewInt(int64(shift)))
}
