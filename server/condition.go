package server

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/oolith-db/oolith/meta"
)

// An entity tag is "<store>-<number>": the identity of the store, so that after a restore 42 means something else, and the
// revision of the object, or a number that a list has as long as the same objects are in it at the same revisions.

// storeID is the store's identity, in 16 hexadecimal digits.
func (s *Server) storeID() string { return s.streams.StoreID() }

// tag makes the entity tag of a revision.
func (s *Server) tag(revision uint64) string {
	return `"` + s.storeID() + "-" + strconv.FormatUint(revision, 10) + `"`
}

// listNumber is the number of a list, or of a page behind which there may be more.
func listNumber(objects []meta.Object, more bool) uint64 {
	hash := sha256.New()
	var b []byte
	for i := range objects {
		b = binary.LittleEndian.AppendUint64(b[:0], objects[i].Revision)
		b = append(append(b, objects[i].Path...), '\n') // which no path has
		hash.Write(b)
	}
	if more {
		hash.Write([]byte{'+'})
	}
	return binary.LittleEndian.Uint64(hash.Sum(nil)) | 1 // 0 is nothing
}

// tags are those of one header, or any one at all.
type tags struct {
	any       bool
	revisions []uint64 // of this store
	given     bool
}

// has reports whether the tags name what is there; 0 is nothing.
func (t tags) has(revision uint64) bool {
	if revision == 0 {
		return false
	}
	for _, r := range t.revisions {
		if r == revision {
			return true
		}
	}
	return t.any
}

// readTags reads a header of entity tags. Those of another store, and what is no tag of a store, match nothing. Weak ones do
// where the comparison is a weak one.
func (s *Server) readTags(name string, headers []string, weak bool) (t tags, err error) {
	if len(headers) == 0 {
		return tags{}, nil
	}
	t.given = true
	rest := strings.TrimSpace(strings.Join(headers, ","))
	if rest == "*" {
		t.any = true
		return t, nil
	}
	for rest != "" {
		isWeak := strings.HasPrefix(rest, "W/")
		rest = strings.TrimPrefix(rest, "W/")
		if !strings.HasPrefix(rest, `"`) || strings.IndexByte(rest[1:], '"') < 0 {
			return t, problem(InvalidHeader, "%s: %q, expected * or entity tags such as %s", name, clip(rest), s.tag(42)).with("header", name)
		}
		end := 1 + strings.IndexByte(rest[1:], '"')
		if revision, ok := s.revisionOf(rest[1:end]); ok && (weak || !isWeak) {
			t.revisions = append(t.revisions, revision)
		}
		rest = strings.TrimLeft(rest[end+1:], " \t")
		if rest == "" {
			break
		}
		if rest[0] != ',' {
			return t, problem(InvalidHeader, "%s: %q, expected a comma between entity tags", name, clip(rest)).with("header", name)
		}
		rest = strings.TrimLeft(rest, ", \t")
	}
	return t, nil
}

// revisionOf is the revision of an entity tag of this store, without its quotes.
func (s *Server) revisionOf(tag string) (uint64, bool) {
	store, number, ok := strings.Cut(tag, "-")
	if !ok || store != s.storeID() {
		return 0, false
	}
	revision, err := strconv.ParseUint(number, 10, 64)
	return revision, err == nil && revision > 0
}

// condition is what a write demands of the object that is there.
type condition struct {
	match, noneMatch tags
}

// none reports whether there is no condition.
func (c condition) none() bool { return !c.match.given && !c.noneMatch.given }

// conditions reads those of a request.
func (c *call) conditions() (condition, error) {
	var cond condition
	var err error
	cond.match, err = c.s.readTags("If-Match", c.r.Header.Values("If-Match"), false)
	if err == nil {
		cond.noneMatch, err = c.s.readTags("If-None-Match", c.r.Header.Values("If-None-Match"), true)
	}
	return cond, err
}

// holds reports whether the condition holds for what is there, a revision of 0 for nothing.
func (c condition) holds(revision uint64) bool {
	if c.match.given && !c.match.has(revision) {
		return false
	}
	return !c.noneMatch.given || !c.noneMatch.has(revision)
}

// failed is the problem of a condition that does not hold for what is there, nil for nothing. The answer has the
// revision, and the object where the request asks for it and may see it.
func (c *call) failed(path string, current *meta.Object) error {
	revision := uint64(0)
	found := "there is no object"
	if current != nil {
		revision = current.Revision
		found = fmt.Sprintf("the object has revision %d", revision)
	}
	p := problem(ConditionFailed, "%q: the condition does not hold, %s", clip(path), found).with("revision", revision)
	if current == nil {
		return p
	}
	p.header("Etag", c.s.tag(revision))
	if !c.wantsObject() || c.allow(Read, path) != nil {
		return p
	}
	if seen, ok := c.view(current); ok {
		p.with("object", rawObject(seen, true))
	}
	return p
}
