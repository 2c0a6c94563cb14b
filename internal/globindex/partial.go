package globindex

import (
	"cmp"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/key"
)

// partials are the branches of the partial globs of a node, such as "a*b*c". Three literal pieces index them: the one
// before the first star, the one after the last, and the longest in between. A segment finds the globs whose pieces it
// contains. The cost grows with its length and the number of different lengths of pieces, not with the number of globs.
// Only globs with the same three pieces slow each other down.
type partials[T comparable] struct {
	branches map[string]*node[T] // by glob
	heads    pieces[pieces[pieces[[]branch[T]]]]
}

// branch is one branch of a partial glob.
type branch[T comparable] struct {
	glob string
	node *node[T]
}

// split returns the pieces that index a partial glob.
func split(glob string) (head, core, tail string) {
	head, rest, _ := strings.Cut(glob, "*")
	last := strings.LastIndexByte(rest, '*')
	if tail = rest[last+1:]; last < 0 {
		return head, "", tail
	}
	for piece := range strings.SplitSeq(rest[:last], "*") {
		if len(piece) > len(core) {
			core = piece
		}
	}
	return head, core, tail
}

// add returns the branch of a glob, and creates it if it is missing.
func (p *partials[T]) add(glob string) *node[T] {
	if n := p.branches[glob]; n != nil {
		return n
	}
	n := &node[T]{}
	if p.branches == nil {
		p.branches = make(map[string]*node[T])
	}
	p.branches[glob] = n
	head, core, tail := split(glob)
	list := p.heads.add(head).add(tail).add(core)
	*list = append(*list, branch[T]{glob, n})
	return n
}

// cut removes the branch of a glob.
func (p *partials[T]) cut(glob string) {
	delete(p.branches, glob)
	head, core, tail := split(glob)
	tails := p.heads.of[head]
	cores := tails.of[tail]
	list := cores.of[core]
	*list = slices.DeleteFunc(*list, func(b branch[T]) bool { return b.glob == glob })
	if len(*list) > 0 {
		return
	}
	if cores.cut(core); len(cores.of) > 0 {
		return
	}
	if tails.cut(tail); len(tails.of) == 0 {
		p.heads.cut(head)
	}
}

// find calls visit with each branch whose glob matches a segment, until visit returns false. find then returns false
// too.
func (p *partials[T]) find(segment string, visit func(*node[T]) bool) bool {
	for _, head := range p.heads.widths {
		if head.bytes > len(segment) {
			break
		}
		tails := p.heads.of[segment[:head.bytes]]
		if tails == nil {
			continue
		}
		rest := segment[head.bytes:]
		for _, tail := range tails.widths {
			if tail.bytes > len(rest) {
				break
			}
			end := len(rest) - tail.bytes
			if cores := tails.of[rest[end:]]; cores != nil && !findCores(cores, segment, rest[:end], visit) {
				return false
			}
		}
	}
	return true
}

// findCores is find for the globs with one head and one tail. middle is the part of the segment between them.
func findCores[T comparable](cores *pieces[[]branch[T]], segment, middle string, visit func(*node[T]) bool) bool {
	for _, core := range cores.widths {
		for at := 0; at+core.bytes <= len(middle); at++ {
			piece := middle[at : at+core.bytes]
			list := cores.of[piece]
			// Look at a piece only once, at its first occurrence.
			if list != nil && strings.Index(middle, piece) == at {
				for _, b := range *list {
					if key.Match(b.glob, segment) && !visit(b.node) {
						return false
					}
				}
			}
			if core.bytes == 0 {
				break
			}
		}
	}
	return true
}

// pieces maps texts to values, and knows the lengths of the texts.
type pieces[V any] struct {
	of     map[string]*V
	widths []width // ascending
}

// width is a length, and how many texts have it.
type width struct{ bytes, texts int }

// add returns the value of a text, and creates it if it is missing.
func (p *pieces[V]) add(text string) *V {
	if v := p.of[text]; v != nil {
		return v
	}
	if p.of == nil {
		p.of = make(map[string]*V)
	}
	v := new(V)
	p.of[text] = v
	at, there := p.width(text)
	if !there {
		p.widths = slices.Insert(p.widths, at, width{bytes: len(text)})
	}
	p.widths[at].texts++
	return v
}

// cut removes the value of a text.
func (p *pieces[V]) cut(text string) {
	delete(p.of, text)
	at, _ := p.width(text)
	if p.widths[at].texts--; p.widths[at].texts == 0 {
		p.widths = slices.Delete(p.widths, at, at+1)
	}
}

// width returns the index of a text's length in widths.
func (p *pieces[V]) width(text string) (at int, there bool) {
	return slices.BinarySearchFunc(p.widths, len(text), func(w width, bytes int) int { return cmp.Compare(w.bytes, bytes) })
}
