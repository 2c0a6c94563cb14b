package ko

import (
	"bytes"
	"container/heap"
	"fmt"
	"strings"

	"github.com/syndtr/goleveldb/leveldb/iterator"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// walk moves an iterator over the objects that match a pattern, directory by directory, the directories in byte
// order.
//
// LevelDB orders the keys by whole paths. In this order levels interleave (users/1, users/1/posts/2, users/2), and
// directories with a common prefix split each other (a-b/x comes before a/x, and both before a/y). The walk therefore
// reads one directory at a time: it takes the directory's own objects, and skips each tree below it with a seek. It
// notes the directories directly below that can lead to a match, and next reads the smallest of all noted ones. This
// gives the correct order, because every directory that is not noted yet is below, and so after, a noted one.
//
// It needs memory for the noted directories: all of them for a store with one level of directories, and never more
// than exist.
type walk struct {
	it iterator.Iterator
	// pattern are the segments of the pattern; nil if everything matches. A last segment "**" matches the names of
	// objects and of directories, at any depth.
	pattern []string
	// skipInvalid skips keys that are not valid paths, which otherwise are an error.
	skipInvalid bool

	noted directories

	// The current directory.
	reading bool
	prefix  []byte // the prefix of its keys: the directory and a slash, or nothing
	begin   []byte // the prefix of the keys that can match
	index   string // the pattern of the objects to take; empty for none
	child   string // the pattern of the directories to note; empty for none
	single  bool   // index is the name of one object
	target  []byte // of the last seek, reused

	path string // of the object that was found
}

// newWalk returns a walk that has no iterator yet. The pattern is valid, or empty for everything.
func newWalk(pattern string, skipInvalid bool) walk {
	w := walk{skipInvalid: skipInvalid}
	if pattern != "" && pattern != "**" {
		w.pattern = strings.Split(pattern, "/")
	}
	w.note("", 0)
	return w
}

// literalOf returns the literal prefix of a pattern.
func literalOf(pattern string) string {
	literal, _, _ := strings.Cut(pattern, "*")
	return literal
}

// note notes a directory with the given number of segments, or the one further down that the literal segments of the
// pattern lead to.
func (w *walk) note(dir string, depth int) {
	for depth < len(w.pattern)-1 && !key.HasGlob(w.pattern[depth]) {
		dir = join(dir, w.pattern[depth])
		depth++
	}
	heap.Push(&w.noted, directory{dir, depth})
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// next moves to the next object that matches. It returns false at the end, and if the iterator has an error.
func (w *walk) next() (bool, error) {
	for {
		var ok bool
		switch {
		case w.reading:
			ok = !w.single && w.it.Next()
		case len(w.noted) == 0:
			return false, nil
		default:
			w.enter(heap.Pop(&w.noted).(directory))
			ok = w.it.Seek(w.begin)
		}
		if found, err := w.find(ok); found || err != nil {
			return found, err
		}
		if err := w.it.Error(); err != nil {
			return false, err
		}
		w.reading = false
	}
}

// enter begins a directory.
func (w *walk) enter(dir directory) {
	w.reading = true
	w.prefix = append(w.prefix[:0], dir.path...)
	if dir.path != "" {
		w.prefix = append(w.prefix, '/')
	}
	w.begin = append(w.begin[:0], w.prefix...)
	switch {
	case w.pattern == nil || dir.depth >= len(w.pattern)-1 && w.pattern[len(w.pattern)-1] == "**":
		w.index, w.child = "*", "*"
	case dir.depth == len(w.pattern)-1:
		w.index, w.child = w.pattern[dir.depth], ""
	default:
		w.index, w.child = "", w.pattern[dir.depth]
	}
	w.single = w.index != "" && !key.HasGlob(w.index)
	w.begin = append(w.begin, literalOf(w.index+w.child)...) // one is empty, or both are "*"
}

// find continues from the iterator's position, if it has one, to the next object of the directory that matches.
func (w *walk) find(ok bool) (bool, error) {
	for ok && bytes.HasPrefix(w.it.Key(), w.begin) {
		raw := w.it.Key()
		rest := raw[len(w.prefix):]
		slash := bytes.IndexByte(rest, '/')
		if slash >= 0 {
			if err := w.noteChild(rest[:slash]); err != nil || w.single {
				return false, err
			}
			ok = w.leave(raw[:len(w.prefix)+slash])
			continue
		}
		if w.index == "*" || w.index != "" && key.Match(w.index, string(rest)) {
			w.path = string(raw)
			if enginekit.CheckPath(w.path) == nil {
				return true, nil
			}
			if !w.skipInvalid {
				return false, invalidKey(w.path)
			}
		}
		ok = !w.single && w.it.Next()
	}
	return false, nil
}

// noteChild notes a directory directly below the current one if it can lead to a match. A name that is not a valid
// segment cannot.
func (w *walk) noteChild(name []byte) error {
	if w.child == "" || !key.Match(w.child, string(name)) {
		return nil
	}
	dir := string(w.prefix) + string(name)
	if enginekit.CheckPath(string(name)) != nil {
		if w.skipInvalid {
			return nil
		}
		return invalidKey(dir + "/")
	}
	depth := 0
	if w.pattern != nil {
		depth = strings.Count(dir, "/") + 1
	}
	w.note(dir, depth)
	return nil
}

// invalidKey is the error for a key that cannot exist, because Start rejects or skips it.
func invalidKey(path string) error {
	return fmt.Errorf("stored key %q: %w", path, storage.ErrInvalidPath)
}

// nearby is how many keys of a tree are skipped one by one, which costs less than a seek.
const nearby = 8

// leave moves past all keys in a tree of directories, from a key in it.
func (w *walk) leave(tree []byte) bool {
	w.target = append(append(w.target[:0], tree...), '/')
	ok := true
	for range nearby {
		if ok = w.it.Next(); !ok || !bytes.HasPrefix(w.it.Key(), w.target) {
			return ok
		}
	}
	w.target[len(w.target)-1]++
	return w.it.Seek(w.target)
}

// directory is a directory to read, with its number of segments if there is a pattern.
type directory struct {
	path  string
	depth int
}

// directories is a heap with the smallest path first.
type directories []directory

func (d directories) Len() int           { return len(d) }
func (d directories) Less(i, j int) bool { return d[i].path < d[j].path }
func (d directories) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push implements heap.Interface.
func (d *directories) Push(dir any) { *d = append(*d, dir.(directory)) }

// Pop implements heap.Interface.
func (d *directories) Pop() any {
	last := (*d)[len(*d)-1]
	(*d)[len(*d)-1] = directory{}
	*d = (*d)[:len(*d)-1]
	return last
}
