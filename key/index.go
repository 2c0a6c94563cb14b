package key

import (
	"math"

	"github.com/oolith-db/oolith/monotonic"
)

// Build returns a pattern with its last '*' replaced by an index that is unique in this process and grows with time:
// monotonic.Now in lower-case hexadecimal. A path without '*' is returned unchanged. The result is up to 15 bytes
// longer than the pattern, so it can exceed MaxLength.
func Build(pattern string) string { return At(pattern, monotonic.Now()) }

// Decode returns the time, in Unix nanoseconds, of an index made by Build. It returns 0 for any other string: one
// that is not the lower-case hexadecimal form of a positive int64 without a leading zero. It takes the index alone,
// not a path. It cannot distinguish a hexadecimal name, such as "cafe", from an index.
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
