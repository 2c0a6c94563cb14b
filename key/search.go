package key

import "strings"

// search returns the first occurrence of a piece in s, or -1, and the number of bytes it compared. That number is at
// most a small multiple of the length of the piece plus the position reached in s. strings.Index is usually linear,
// but not for a caller who chooses both strings.
//
// It implements the two-way algorithm (Crochemore and Perrin, "Two-way string-matching", 1991), which needs no
// memory. The piece is cut in two at a place that no shorter repetition spans. The right part is compared first,
// starting at the cut, and a mismatch moves the piece past it.
func search(s, piece string) (at, compared int) {
	if len(piece) < 2 {
		return strings.Index(s, piece), len(piece)
	}
	if len(piece) > len(s) {
		return -1, 0
	}
	cut, period, compared := split(piece)
	// If a piece repeats its beginning, a match before a move by one period is still a match after it.
	repeats := piece[:cut] == piece[period:][:cut]
	compared += cut
	if !repeats {
		period = max(cut, len(piece)-cut) + 1
	}
	known := 0 // length of the known match
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

// split returns where to cut a piece, and the period of the part after the cut.
func split(piece string) (cut, period, compared int) {
	up, upPeriod, upCompared := greatestSuffix(piece, 0)
	down, downPeriod, downCompared := greatestSuffix(piece, 0xff)
	compared = upCompared + downCompared
	if up > down {
		return up, upPeriod, compared
	}
	return down, downPeriod, compared
}

// greatestSuffix returns the start and the period of the greatest suffix of a piece, in byte order for mask 0 and in
// reverse order for 0xff.
func greatestSuffix(piece string, mask byte) (start, period, compared int) {
	// The suffix from j is compared with the greatest one so far; k-1 bytes of both are equal.
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
