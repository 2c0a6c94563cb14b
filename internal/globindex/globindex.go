// Package globindex finds the patterns that match a path. The cost grows with the number of matching patterns, not of
// all.
//
// A trie of segments holds the patterns. A path follows, at each of its segments, the branch of the same name, the
// branch of "*", and each matching branch of a partial glob ("a*", partial.go). A subtree pattern ends in a branch
// "**", whose values match every longer path.
package globindex

import (
	"math"
	"strings"

	"github.com/oolith-db/oolith/key"
)

// Index holds values by pattern: valid paths or globs, or "" for a pattern that matches every path. The zero value is
// empty and ready to use. It is not safe for concurrent use.
type Index[T comparable] struct {
	root node[T]
	all  map[T]struct{} // under ""
	size int
}

type node[T comparable] struct {
	values  map[T]struct{}      // of the pattern that ends here
	literal map[string]*node[T] // by segment
	any     *node[T]            // "*"
	partial partials[T]         // such as "a*"
	below   *node[T]            // "**", always the last segment
}

// Len returns the number of values.
func (x *Index[T]) Len() int { return x.size }

// Add adds a value to a pattern.
func (x *Index[T]) Add(pattern string, value T) {
	values := &x.all
	if pattern != "" {
		n := &x.root
		for segment := range strings.SplitSeq(pattern, "/") {
			n = n.child(segment)
		}
		values = &n.values
	}
	if *values == nil {
		*values = make(map[T]struct{})
	}
	if _, there := (*values)[value]; !there {
		(*values)[value] = struct{}{}
		x.size++
	}
}

// child returns the branch of a segment, and creates it if it is missing.
func (n *node[T]) child(segment string) *node[T] {
	if segment == "*" {
		if n.any == nil {
			n.any = &node[T]{}
		}
		return n.any
	}
	if segment == "**" {
		if n.below == nil {
			n.below = &node[T]{}
		}
		return n.below
	}
	if key.HasGlob(segment) {
		return n.partial.add(segment)
	}
	if n.literal == nil {
		n.literal = make(map[string]*node[T])
	}
	child := n.literal[segment]
	if child == nil {
		child = &node[T]{}
		n.literal[segment] = child
	}
	return child
}

// Remove removes a value from a pattern, and branches that become empty.
func (x *Index[T]) Remove(pattern string, value T) {
	if pattern == "" {
		if _, there := x.all[value]; there {
			delete(x.all, value)
			x.size--
		}
		return
	}
	if x.root.remove(pattern, value) {
		x.size--
	}
}

func (n *node[T]) remove(pattern string, value T) (removed bool) {
	segment, rest, deeper := strings.Cut(pattern, "/")
	child := n.existing(segment)
	switch {
	case child == nil:
		return false
	case deeper:
		removed = child.remove(rest, value)
	default:
		_, removed = child.values[value]
		delete(child.values, value)
	}
	if child.empty() {
		n.cut(segment)
	}
	return removed
}

func (n *node[T]) existing(segment string) *node[T] {
	switch {
	case segment == "*":
		return n.any
	case segment == "**":
		return n.below
	case key.HasGlob(segment):
		return n.partial.branches[segment]
	}
	return n.literal[segment]
}

func (n *node[T]) cut(segment string) {
	switch {
	case segment == "*":
		n.any = nil
	case segment == "**":
		n.below = nil
	case key.HasGlob(segment):
		n.partial.cut(segment)
	default:
		delete(n.literal, segment)
	}
}

func (n *node[T]) empty() bool {
	return len(n.values) == 0 && len(n.literal) == 0 && n.any == nil && n.below == nil && len(n.partial.branches) == 0
}

// Append appends the values whose patterns match a path to values, once for each such pattern, in no particular order.
func (x *Index[T]) Append(values []T, path string) []T {
	values, _ = x.AppendMost(values, path, math.MaxInt-len(values))
	return values
}

// AppendMost is Append with a limit on the number of appended values. It reports whether these are all. Its cost is
// bounded by the limit.
func (x *Index[T]) AppendMost(values []T, path string, most int) (_ []T, all bool) {
	most += len(values)
	if values, all = appendMost(values, x.all, most); !all || path == "" {
		return values, all
	}
	return x.root.append(values, path, most)
}

// appendMost appends the members of a set until there are most values.
func appendMost[T comparable](values []T, set map[T]struct{}, most int) (_ []T, all bool) {
	for value := range set {
		if len(values) == most {
			return values, false
		}
		values = append(values, value)
	}
	return values, true
}

func (n *node[T]) append(values []T, path string, most int) (_ []T, all bool) {
	if n.below != nil {
		if values, all = appendMost(values, n.below.values, most); !all {
			return values, false
		}
	}
	segment, rest, deeper := strings.Cut(path, "/")
	if child := n.literal[segment]; child != nil {
		if values, all = child.follow(values, rest, deeper, most); !all {
			return values, false
		}
	}
	if n.any != nil {
		if values, all = n.any.follow(values, rest, deeper, most); !all {
			return values, false
		}
	}
	if len(n.partial.branches) == 0 {
		return values, true
	}
	all = n.partial.find(segment, func(child *node[T]) (more bool) {
		values, more = child.follow(values, rest, deeper, most)
		return more
	})
	return values, all
}

// follow continues with the rest of a path in the branch of a segment.
func (n *node[T]) follow(values []T, rest string, deeper bool, most int) (_ []T, all bool) {
	if deeper {
		return n.append(values, rest, most)
	}
	return appendMost(values, n.values, most)
}

// Each calls visit with each value, in no particular order.
func (x *Index[T]) Each(visit func(T)) {
	for value := range x.all {
		visit(value)
	}
	x.root.each(visit)
}

func (n *node[T]) each(visit func(T)) {
	for value := range n.values {
		visit(value)
	}
	for _, child := range n.literal {
		child.each(visit)
	}
	if n.any != nil {
		n.any.each(visit)
	}
	if n.below != nil {
		n.below.each(visit)
	}
	for _, child := range n.partial.branches {
		child.each(visit)
	}
}
