package key

import (
	"strconv"
	"strings"
)

// At returns a pattern with its last '*' replaced by the index of a time in Unix nanoseconds, as Build does with the
// present time. Decode is its inverse. A path without '*' is returned unchanged.
func At(pattern string, t int64) string {
	star := strings.LastIndexByte(pattern, '*')
	if star < 0 {
		return pattern
	}
	return pattern[:star] + strconv.FormatInt(t, 16) + pattern[star+1:]
}
