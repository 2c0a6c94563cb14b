package live

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// token is a position in the commit order of a store, from which a client resumes: "<store id>.<revision>".
type token struct {
	store    string
	revision uint64
}

// longestToken is the maximum length of a token in bytes.
const longestToken = 200

func (t token) String() string { return t.store + "." + strconv.FormatUint(t.revision, 10) }

// parseToken parses exactly the output of String.
func parseToken(text string) (token, error) {
	store, digits, found := strings.Cut(text, ".")
	revision, err := strconv.ParseUint(digits, 10, 64)
	t := token{store, revision}
	if len(text) > longestToken || !found || err != nil || !isHex(store) || t.String() != text {
		return token{}, fmt.Errorf("resume token %.40q, expected the token of an earlier message, such as %q", text, "18ec59305bf0993f.42")
	}
	return t, nil
}

func isHex(text string) bool {
	return text != "" && strings.Trim(text, "0123456789abcdef") == ""
}

// versions convert revisions into opaque versions of the older protocol and back. They depend on the store and the
// pattern, so another store's version has no meaning.
type versions struct{ store string }

func (v versions) mask(pattern string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(v.store + "\x00" + pattern)) // never fails
	return h.Sum64()
}

// odd spreads the bits of a revision over a version.
const odd = 0x9e3779b97f4a7c15

func (v versions) of(pattern string, revision uint64) string {
	return fmt.Sprintf("%016x", revision*odd^v.mask(pattern))
}

// is reports whether a client's version is that of a revision.
func (v versions) is(pattern string, revision uint64, version string) bool {
	raw, err := hex.DecodeString(version)
	return err == nil && len(raw) == 8 && v.of(pattern, revision) == version
}
