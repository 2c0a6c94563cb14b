package server

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/oolith-db/oolith/meta"
)

// An entity tag is "<store>-<number>". The identity of the store makes tags from before a restore invalid. The number
// is the revision of the object, or a number for a list that stays the same while it has the same objects at the same
// revisions.

// storeID returns the store's identity in 16 hexadecimal digits.
func (s *Server) storeID() string { return s.streams.StoreID() }

// tag returns the entity tag of a revision.
func (s *Server) tag(revision uint64) string {
	return `"` + s.storeID() + "-" + strconv.FormatUint(revision, 10) + `"`
}

// listNumber returns the number of a list, or of a page that may not be the last one.
func listNumber(objects []meta.Object, more bool) uint64 {
	hash := sha256.New()
	var b []byte
	for i := range objects {
		b = binary.LittleEndian.AppendUint64(b[:0], objects[i].Revision)
		b = append(append(b, objects[i].Path...), '\n') // paths never contain it
		hash.Write(b)
	}
	if more {
		hash.Write([]byte{'+'})
	}
	return binary.LittleEndian.Uint64(hash.Sum(nil)) | 1 // 0 means nothing
}

// tags are the entity tags of a header, or "*".
type tags struct {
	any       bool
	revisions []uint64 // of this store
	given     bool
}

// has reports whether the tags include a revision; 0 means no object.
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

// readTags parses a header of entity tags. Tags of other stores and unknown tags match nothing. Weak tags match only
// in weak comparisons.
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

// revisionOf returns the revision in an entity tag of this store, without quotes.
func (s *Server) revisionOf(tag string) (uint64, bool) {
	store, number, ok := strings.Cut(tag, "-")
	if !ok || store != s.storeID() {
		return 0, false
	}
	revision, err := strconv.ParseUint(number, 10, 64)
	return revision, err == nil && revision > 0
}

// condition is the condition of a write on the present object.
type condition struct {
	match, noneMatch tags
}

// none reports whether there is no condition.
func (c condition) none() bool { return !c.match.given && !c.noneMatch.given }

// conditions parses the conditions of a request.
func (c *call) conditions() (condition, error) {
	var cond condition
	var err error
	cond.match, err = c.s.readTags("If-Match", c.r.Header.Values("If-Match"), false)
	if err == nil {
		cond.noneMatch, err = c.s.readTags("If-None-Match", c.r.Header.Values("If-None-Match"), true)
	}
	return cond, err
}

// holds reports whether the condition holds for a revision, 0 for no object.
func (c condition) holds(revision uint64) bool {
	if c.match.given && !c.match.has(revision) {
		return false
	}
	return !c.noneMatch.given || !c.noneMatch.has(revision)
}

// failed is the problem for a condition that does not hold; current is nil if there is no object. The answer has the
// revision, and the object if the request asks for it and may see it.
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
