package pebble

import (
	"bytes"
	"strings"

	"github.com/oolith-db/oolith/key"
)

// walk finds the objects that match a pattern among the keys, in their order, and tells
// where to go on from a key that does not match: over whole directories and whole trees of
// them. It relies on two things. The children of a directory are neighbours. And all
// directories that begin with the same bytes are neighbours too, which makes a tree of
// directories ("users/" and all that begins so) and a literal beginning of a segment
// ("users/a" for users/a*/posts/*) a range that one seek reaches or leaves.
type walk struct {
	// lower and upper bound all keys that can match: [lower, upper).
	lower, upper []byte

	// segments are the segments of the pattern's directory, when it has a glob; nil when
	// the bounds alone decide about the directory.
	segments []segment
	// index is the pattern of the last segment; "*" when every child matches.
	index string
	// prefix is what every index that matches begins with.
	prefix []byte

	// matched is the directory whose children are being read, with its separator.
	matched []byte
	target  []byte // of the last stepSeek, reused
}

// segment is one segment of the pattern's directory.
type segment struct {
	pattern string
	glob    bool
	// begin is what the rest of a directory from this segment on begins with, if the
	// segment matches. For a literal segment it holds what ends it: a slash, or the
	// separator of the last one.
	begin []byte
}

// step is what to do at a key.
type step int

const (
	stepTake step = iota // the object matches
	stepNext             // go to the next key
	stepSeek             // go to the first key that is not below the target
)

func newWalk(pattern string) walk {
	if pattern == "" {
		return walk{lower: firstObject, upper: lastObject, index: "*"}
	}
	dir, index := "", pattern
	if slash := strings.LastIndexByte(pattern, '/'); slash >= 0 {
		dir, index = pattern[:slash], pattern[slash+1:]
	}
	w := walk{index: index}
	prefix, _, glob := strings.Cut(index, "*")
	w.prefix = []byte(prefix)
	if strings.Contains(dir, "*") {
		w.segments = newSegments(dir)
		begin, _, _ := strings.Cut(dir, "*")
		w.lower = append(w.lower, objectKind)
		w.lower = append(w.lower, begin...)
		w.upper = successor(w.lower)
		return w
	}
	w.lower = append(w.lower, objectKind)
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

func newSegments(dir string) []segment {
	parts := strings.Split(dir, "/")
	segments := make([]segment, len(parts))
	for i, part := range parts {
		begin, _, glob := strings.Cut(part, "*")
		s := segment{pattern: part, glob: glob, begin: []byte(begin)}
		switch {
		case glob:
		case i < len(parts)-1:
			s.begin = append(s.begin, '/')
		default:
			s.begin = append(s.begin, separator)
		}
		segments[i] = s
	}
	return segments
}

// successor returns the first key after all that begin with prefix. No byte of a key is
// 0xff.
func successor(prefix []byte) []byte {
	after := bytes.Clone(prefix)
	after[len(after)-1]++
	return after
}

// at decides about a key between the bounds. The target is valid until the next call.
func (w *walk) at(raw []byte) (step, []byte) {
	if w.segments == nil {
		if w.index == "*" {
			return stepTake, nil
		}
		_, index, ok := splitKey(raw)
		return w.take(index, ok), nil
	}
	dir, index, ok := splitKey(raw)
	if !ok {
		return stepTake, nil // no key of an object: whoever decodes it tells
	}
	place := raw[1 : 1+len(dir)+1] // with the separator
	if !bytes.Equal(place, w.matched) {
		w.matched = w.matched[:0]
		if w.skip(place) {
			return stepSeek, w.target
		}
		w.matched = append(w.matched, place...)
	}
	if bytes.HasPrefix(index, w.prefix) {
		return w.take(index, true), nil
	}
	if bytes.Compare(index, w.prefix) < 0 {
		w.aim(place, w.prefix...)
	} else {
		w.aim(dir, afterSeparator)
	}
	return stepSeek, w.target
}

// take decides about an index in a directory that matches.
func (w *walk) take(index []byte, ok bool) step {
	if !ok || w.index == "*" || key.Match(w.index, string(index)) {
		return stepTake
	}
	return stepNext
}

// skip reports whether a directory does not match, and then aims at the first key after
// it that can be in one that does. The target is always after the directory's first key.
func (w *walk) skip(place []byte) bool {
	from := 0 // where the segment begins
	for i, s := range w.segments {
		rest := place[from:]
		if !bytes.HasPrefix(rest, s.begin) {
			switch {
			case bytes.Compare(rest, s.begin) < 0:
				w.aim(place[:from], s.begin...)
			case from == 0:
				w.target = append(w.target[:0], lastObject...)
			default:
				w.aim(place[:from-1], afterSlash)
			}
			return true
		}
		end := bytes.IndexAny(rest, "/\x00")
		below := rest[end] == '/'
		last := i == len(w.segments)-1
		fits := !s.glob || key.Match(s.pattern, string(rest[:end]))
		switch {
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
func (w *walk) aim(dir []byte, rest ...byte) {
	w.target = append(w.target[:0], objectKind)
	w.target = append(w.target, dir...)
	w.target = append(w.target, rest...)
}
