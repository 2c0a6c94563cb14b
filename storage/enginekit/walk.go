package enginekit

import (
	"bytes"
	"strings"

	"github.com/oolith-db/oolith/key"
)

// Walk finds the objects that match a pattern among the keys of a space, in their order. After a key that does not
// match it tells where to continue, which skips whole directories and whole trees of them. It relies on two facts. The
// children of a directory are neighbors. All directories that begin with the same bytes are neighbors too. So a tree of
// directories ("users/" and all that begins with it) and a literal beginning of a segment ("users/a" for
// users/a*/posts/*) are ranges that one seek reaches or leaves.
//
// A Walk belongs to one reader. It is not safe for concurrent use.
type Walk struct {
	space        Space
	lower, upper []byte

	// segments are the segments of the pattern's directory if it has a glob; nil if the bounds alone determine the
	// directory.
	segments []segment
	// subtree means that everything below a matching directory matches too, at any depth.
	subtree bool
	// index is the pattern of the last segment; "*" if every child matches.
	index string
	// prefix is the common beginning of all matching indexes.
	prefix []byte

	// matched is the directory whose children are being read, with its separator.
	matched []byte
	target  []byte // of the last Seek, reused
}

// segment is one segment of the pattern's directory.
type segment struct {
	pattern string
	glob    bool
	// begin is how the rest of a directory from this segment begins if the segment matches. For a literal segment it
	// includes its end: a slash, or the separator after the last one. The last segment of a subtree may end in either.
	begin []byte
}

// Step is what to do at a key.
type Step int

const (
	Take Step = iota // the object matches
	Next             // go to the next key
	Seek             // go to the first key that is not below the target
)

// Walk returns a walk along the matches of a valid pattern or path, or along everything for an empty one.
func (s Space) Walk(pattern string) *Walk {
	if pattern == "" || pattern == "**" {
		return &Walk{space: s, lower: s.prefix, upper: s.end, index: "*"}
	}
	dir, index := "", pattern
	if slash := strings.LastIndexByte(pattern, '/'); slash >= 0 {
		dir, index = pattern[:slash], pattern[slash+1:]
	}
	w := &Walk{space: s, index: index}
	if w.subtree = key.IsSubtree(pattern); w.subtree {
		w.index = "*"
		w.segments = newSegments(dir, true)
		begin, _, glob := strings.Cut(dir, "*")
		w.lower = append(append(w.lower, s.prefix...), begin...)
		if glob {
			w.upper = successor(w.lower)
		} else {
			w.upper = append(bytes.Clone(w.lower), afterSlash)
		}
		return w
	}
	prefix, _, glob := strings.Cut(index, "*")
	w.prefix = []byte(prefix)
	w.lower = append(w.lower, s.prefix...)
	if strings.Contains(dir, "*") {
		w.segments = newSegments(dir, false)
		begin, _, _ := strings.Cut(dir, "*")
		w.lower = append(w.lower, begin...)
		w.upper = successor(w.lower)
		return w
	}
	w.lower = append(w.lower, dir...)
	w.lower = append(w.lower, separator)
	w.lower = append(w.lower, prefix...)
	if glob {
		w.upper = successor(w.lower)
	} else {
		w.upper = append(bytes.Clone(w.lower), 0)
	}
	return w
}

func newSegments(dir string, subtree bool) []segment {
	parts := strings.Split(dir, "/")
	segments := make([]segment, len(parts))
	for i, part := range parts {
		begin, _, glob := strings.Cut(part, "*")
		s := segment{pattern: part, glob: glob, begin: []byte(begin)}
		switch {
		case glob:
		case i < len(parts)-1:
			s.begin = append(s.begin, '/')
		case subtree:
		default:
			s.begin = append(s.begin, separator)
		}
		segments[i] = s
	}
	return segments
}

// Bounds returns the bounds of all keys that can match: [lower, upper). All of these keys begin with lower.
func (w *Walk) Bounds() (lower, upper []byte) { return w.lower, w.upper }

// At decides about a key between the bounds. The target of a Seek is always after the key. It is valid until the next
// call.
//
// At returns Take for a key that is not of an object. Converting the key to a path then reports the error.
func (w *Walk) At(raw []byte) (Step, []byte) {
	if w.segments == nil && w.index == "*" {
		return Take, nil
	}
	dir, index, ok := w.space.split(raw)
	if !ok {
		return Take, nil
	}
	if w.segments == nil {
		return w.take(index), nil
	}
	place := raw[len(w.space.prefix):][:len(dir)+1] // with the separator
	if !bytes.Equal(place, w.matched) {
		w.matched = w.matched[:0]
		if w.skip(place) {
			return Seek, w.target
		}
		w.matched = append(w.matched, place...)
	}
	if bytes.HasPrefix(index, w.prefix) {
		return w.take(index), nil
	}
	if bytes.Compare(index, w.prefix) < 0 {
		w.aim(place, w.prefix...)
	} else {
		w.aim(dir, afterSeparator)
	}
	return Seek, w.target
}

// take decides about an index in a matching directory.
func (w *Walk) take(index []byte) Step {
	if w.index == "*" || key.Match(w.index, string(index)) {
		return Take
	}
	return Next
}

// skip reports whether a directory does not match. If so, it sets the target to the first later key that can be in a
// matching one. The target is always after the directory's first key.
func (w *Walk) skip(place []byte) bool {
	from := 0 // where the segment begins
	for i, s := range w.segments {
		rest := place[from:]
		if !bytes.HasPrefix(rest, s.begin) {
			switch {
			case bytes.Compare(rest, s.begin) < 0:
				w.aim(place[:from], s.begin...)
			case from == 0:
				w.target = append(w.target[:0], w.space.end...)
			default:
				w.aim(place[:from-1], afterSlash)
			}
			return true
		}
		end := bytes.IndexAny(rest, "/\x00")
		below := rest[end] == '/'
		last := i == len(w.segments)-1
		if last && w.subtree && !s.glob && end > len(s.begin) {
			// A name with the same beginning. Names that continue with a byte before the slash sort between the
			// directory and the directories below it.
			switch {
			case rest[len(s.begin)] < '/':
				w.aim(place[:from+len(s.begin)], '/')
			case from == 0:
				w.target = append(w.target[:0], w.space.end...)
			default:
				w.aim(place[:from-1], afterSlash)
			}
			return true
		}
		fits := !s.glob || key.Match(s.pattern, string(rest[:end]))
		switch {
		case last && w.subtree && fits:
			return false
		case below && (last || !fits):
			w.aim(place[:from+end], afterSlash)
			return true
		case !below && (!last || !fits):
			w.aim(place[:from+end], afterSeparator)
			return true
		}
		from += end + 1
	}
	return false
}

// aim sets the target.
func (w *Walk) aim(dir []byte, rest ...byte) {
	w.target = append(w.target[:0], w.space.prefix...)
	w.target = append(w.target, dir...)
	w.target = append(w.target, rest...)
}
