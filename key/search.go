package key

import "strings"

// search returns where a piece first occurs in s, or -1, and how many bytes it compared: at most a small
// multiple of the length of the piece and of how far it came in s. strings.Index is linear too as a rule, but not
// for who chooses both texts.
//
// It is the two-way algorithm (Crochemore and Perrin, "Two-way string-matching", 1991), which needs no memory. The
// piece is cut in two where no shorter repetition spans the cut; the right part is compared first, from the cut
// on, and what differs there moves the piece behind it.
func search(s, piece string) (at, compared int) {
	if len(piece) < 2 {
		return strings.Index(s, piece), len(piece)
	}
	if len(piece) > len(s) {
		return -1, 0
	}
	cut, period, compared := split(piece)
	// In a piece that repeats its beginning, what matched before a move by one period matches after it.
	repeats := piece[:cut] == piece[period:][:cut]
	compared += cut
	if !repeats {
		period = max(cut, len(piece)-cut) + 1
	}
	known := 0 // how much of the piece is known to match
	for len(s)-at >= len(piece) {
		window := s[at:][:len(piece)]
		right := max(cut, known)
		for right < len(piece) && piece[right] == window[right] {
			right++
		}
		compared += right - max(cut, known) + 1
		if right < len(piece) {
			at += right - cut + 1
			known = 0
			continue
		}
		left := cut
		for left > known && piece[left-1] == window[left-1] {
			left--
		}
		compared += cut - left + 1
		if left <= known {
			return at, compared
		}
		at += period
		if known = 0; repeats {
			known = len(piece) - period
		}
	}
	return -1, compared
}

// split returns where to cut a piece, and the period of what is behind the cut.
func split(piece string) (cut, period, compared int) {
	up, upPeriod, upCompared := greatestSuffix(piece, 0)
	down, downPeriod, downCompared := greatestSuffix(piece, 0xff)
	compared = upCompared + downCompared
	if up > down {
		return up, upPeriod, compared
	}
	return down, downPeriod, compared
}

// greatestSuffix returns where the greatest suffix of a piece begins, in the order of bytes for mask 0 and in the
// reverse one for 0xff, and the period of it.
func greatestSuffix(piece string, mask byte) (start, period, compared int) {
	// The suffix from j on is held against the greatest one so far; k-1 bytes of the two are equal.
	start, period = -1, 1
	for j, k := 0, 1; j+k < len(piece); compared++ {
		switch a, b := piece[j+k]^mask, piece[start+k]^mask; {
		case a < b:
			j += k
			k = 1
			period = j - start
		case a > b:
			start = j
			j = start + 1
			k, period = 1, 1
		case k == period:
			j += period
			k = 1
		default:
			k++
		}
	}
	return start + 1, period, compared
}
