package key

import (
	"math"

	"github.com/oolith-db/oolith/monotonic"
)

// Build returns a pattern with its last '*' replaced by an index that is unique in this
// process and grows with time: monotonic.Now in lower-case hexadecimal. A path without
// '*' is returned as it is. The result is up to 15 bytes longer than the pattern, so that
// of a pattern near MaxLength it may be too long to be valid.
func Build(pattern string) string { return At(pattern, monotonic.Now()) }

// Decode returns the time, in Unix nanoseconds, of an index that Build made, and 0 for a
// string that Build cannot have made: one that is not the lower-case hexadecimal of a
// positive int64, without leading zero. It takes the index alone, not a path, and cannot
// tell a name that happens to be hexadecimal, such as "cafe", from an index.
func Decode(index string) int64 {
	if index == "" || index[0] == '0' || len(index) > 16 {
		return 0
	}
	var t uint64
	for i := range len(index) {
		switch c := index[i]; {
		case '0' <= c && c <= '9':
			t = t<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			t = t<<4 | uint64(c-'a'+10)
		default:
			return 0
		}
	}
	if t > math.MaxInt64 {
		return 0
	}
	return int64(t)
}
