package etcd

import (
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// keys maps the content of a store to keys in etcd.
type keys struct{ prefix string }

func (k keys) marker() string  { return k.prefix + "m" }
func (k keys) objects() string { return k.prefix + "o/" }
func (k keys) fence() string   { return k.prefix + "v" }
func (k keys) elected() string { return k.prefix + "e" }
func (k keys) partial() string { return k.prefix + "i" }

func (k keys) record(node string) string { return k.prefix + "n/" + node }
func (k keys) alive(node string) string  { return k.prefix + "a/" + node }

// object returns the key of the object at a path.
func (k keys) object(path string) string { return k.directory(key.Parent(path)) + key.LastIndex(path) }

// directory returns the prefix of the keys of the objects of a directory.
func (k keys) directory(dir string) string { return k.objects() + dir + "\x00" }

// path returns the path of the object at a key; false if the key is not one of an object.
func (k keys) path(stored string) (path string, ok bool, err error) {
	rest, ok := strings.CutPrefix(stored, k.objects())
	if !ok {
		return "", false, nil
	}
	dir, index, ok := strings.Cut(rest, "\x00")
	path = index
	if dir != "" {
		path = dir + "/" + index
	}
	// An object of another key would be a second object at its path, which no guard covers.
	if !ok || !key.IsValid(path) || key.HasGlob(path) || k.object(path) != stored {
		return "", true, fmt.Errorf("%w, the key %q in etcd is not one of an object; delete it with etcd's own tools", storage.ErrUndecodable, stored)
	}
	return path, true, nil
}

// span is a range of keys.
type span struct{ from, end string }

func prefixed(prefix string) span { return span{prefix, clientv3.GetPrefixRangeEnd(prefix)} }

// spans returns the ranges that hold exactly the matches of a pattern, or everything for "". It returns none if
// ranges cannot express the pattern.
func (k keys) spans(pattern string) []span {
	dir := key.Parent(pattern)
	switch name := key.LastIndex(pattern); {
	case pattern == "" || pattern == "**":
		return []span{prefixed(k.objects())}
	case key.HasGlob(dir):
		return nil
	case name == "*":
		return []span{prefixed(k.directory(dir))}
	case name == "**":
		return []span{prefixed(k.directory(dir)), prefixed(k.objects() + dir + "/")}
	}
	return nil
}

// around returns a range that holds all matches of a pattern, and possibly more.
func (k keys) around(pattern string) span {
	if !key.HasGlob(pattern) {
		at := k.object(pattern)
		return span{at, at + "\x00"}
	}
	// Everything below the last directory that the pattern names.
	dir := pattern
	for key.HasGlob(dir) {
		dir = key.Parent(dir)
	}
	if dir == "" {
		return prefixed(k.objects())
	}
	return span{k.directory(dir), clientv3.GetPrefixRangeEnd(k.objects() + dir + "/")}
}
