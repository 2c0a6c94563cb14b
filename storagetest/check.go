package storagetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/meta"
)

// This file holds small checks that clauses use.

// invalidPaths are rejected by every call that takes a path or a pattern.
var invalidPaths = []struct{ name, path string }{
	{"empty", ""},
	{"slash", "/"},
	{"leading slash", "/a"},
	{"trailing slash", "a/"},
	{"empty segment", "a//b"},
	{"dot", "."},
	{"dot dot", ".."},
	{"dot segment", "a/./b"},
	{"dot dot segment", "a/../b"},
	{"space", "a b"},
	{"zero byte", "a\x00b"},
	{"control character", "a\nb"},
	{"delete character", "a\x7f"},
	{"letter beyond ASCII", "caf\u00e9"},
	{"invalid UTF-8", "a\xffb"},
	{"question mark", "a?b"},
	{"backslash", `a\b`},
	{"brace", "a/{b}"},
	{"1025 bytes", strings.Repeat("a", 1025)},
}

// invalidPatterns are rejected by every call that takes a pattern, like invalidPaths.
var invalidPatterns = []struct{ name, path string }{
	{"double star in the middle", "a/**/b"},
	{"double star at the front", "**/a"},
	{"triple star", "a/***"},
	{"double star in a segment", "a/b**"},
	{"empty segment with a star", "a//*"},
	{"leading slash with a star", "/*"},
	{"dot dot with a star", "a/../*"},
	{"space with a star", "a b/*"},
}

// unusualPaths are valid, but an engine may confuse them.
var unusualPaths = []string{
	"-", "_", "...", ".a", "a.", "0", "a", "A", "a/b", "a-b", "a.b", "a_b", "ab", "a/B", "a/b/c", "a-b/c",
	"a.b/c", "a/b-c", "a/b.c", "a/-", "a/...", "aa/b", "AA/b",
	strings.Repeat("x", 1024),
	strings.Repeat("d/", 511) + "ee",
}

// aroundSlash are paths whose order depends on how '/' compares with the other bytes of a path.
var aroundSlash = []string{"b", "a/b", "a", "a-b", "a.b", "a/b/c", "B", "_", "a/B", "10", "9", "a-b/c"}

// tree holds paths for testing globs.
var tree = []string{
	"root", "users", "users/1", "users/2", "users/10", "users/a1", "users/1/posts", "users/2/posts",
	"users/1/2/posts", "users/1/posts/a", "users/10/posts/b", "usersx/1", "Users/1", "xusers/1", "a/b/c", "a/bb/c", "a/b/d",
	"ab/b/c", "a/b.c", "a/b-c/d",
}

// globs are patterns for testing on tree.
var globs = []string{
	"*", "users/*", "*/1", "*/*", "*/*/*", "*/*/*/*", "*/*/*/*/*", "users/1*", "users/*0", "users/*1", "users/1*0",
	"users/*/posts", "users/1*/posts", "users/*/p*", "users/*/posts/*", "u*/1", "*s/1", "*users/1", "u*e*s/*", "a/b*/c",
	"a/*b/c", "a/*/*", "a*/b/c", "*/b/*", "a/b*", "none/*", "users/none*", "U*/*",
}

// match defines the meaning of a glob, as simply as possible and independently of package key.
func match(pattern, path string) bool {
	ps, ks := strings.Split(pattern, "/"), strings.Split(path, "/")
	if last := len(ps) - 1; ps[last] == "**" && len(ks) > last {
		ps, ks = ps[:last], ks[:last]
	}
	if len(ps) != len(ks) {
		return false
	}
	for i := range ps {
		if !matchSegment(ps[i], ks[i]) {
			return false
		}
	}
	return true
}

// matchSegment tries every length for each star.
func matchSegment(pattern, s string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	rest, ok := strings.CutPrefix(s, before)
	if !ok {
		return false
	}
	for i := range len(rest) + 1 {
		if matchSegment(after, rest[i:]) {
			return true
		}
	}
	return false
}

// matching returns the paths that a pattern matches, in byte order.
func matching(pattern string, paths []string) []string {
	hits := []string{}
	for _, p := range paths {
		if match(pattern, p) {
			hits = append(hits, p)
		}
	}
	slices.Sort(hits)
	return hits
}

// object returns an object whose data shows its path and time.
func object(path string, created int64) meta.Object {
	return meta.Object{
		Created:  created,
		Index:    path[strings.LastIndexByte(path, '/')+1:],
		Path:     path,
		Data:     dataOf(created),
		Revision: uint64(created),
	}
}

// dataOf returns JSON that identifies its write.
func dataOf(n int64) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)) }

// numberOf is the inverse of dataOf; -1 for other data.
func numberOf(data json.RawMessage) int64 {
	var v struct{ N *int64 }
	if err := json.Unmarshal(data, &v); err != nil || v.N == nil {
		return -1
	}
	return *v.N
}

// diff describes how two objects differ, or returns "".
func diff(got, want meta.Object) string {
	var d []string
	add := func(field string, g, w any) { d = append(d, fmt.Sprintf("%s is %v, want %v", field, g, w)) }
	if got.Created != want.Created {
		add("Created", got.Created, want.Created)
	}
	if got.Updated != want.Updated {
		add("Updated", got.Updated, want.Updated)
	}
	if got.Index != want.Index {
		add("Index", short(got.Index), short(want.Index))
	}
	if got.Path != want.Path {
		add("Path", short(got.Path), short(want.Path))
	}
	if !bytes.Equal(got.Data, want.Data) {
		add("Data", short(string(got.Data)), short(string(want.Data)))
	}
	if got.Revision != want.Revision {
		add("Revision", got.Revision, want.Revision)
	}
	if got.Expires != want.Expires {
		add("Expires", got.Expires, want.Expires)
	}
	return strings.Join(d, "; ")
}

// short quotes a text, abbreviated if it is long.
func short(s string) string {
	if len(s) <= 80 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q... (%d bytes)", s[:40], len(s))
}

// paths returns the paths of a list, in its order.
func paths(list []meta.Object) []string {
	all := make([]string, len(list))
	for i, obj := range list {
		all[i] = obj.Path
	}
	return all
}

// sorted returns a copy in byte order.
func sorted(all []string) []string {
	all = slices.Clone(all)
	slices.Sort(all)
	return all
}

// wantErr checks that an error is the expected one.
func wantErr(t T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v, want %v", what, err, want)
	}
}

// must ends the clause if a required call failed.
func must(t T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// wantPaths checks a list of paths, including the order.
func wantPaths(t T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %s, want %s", what, abridged(got), abridged(want))
	}
}

// abridged formats a list of paths, abbreviated if it is long.
func abridged(all []string) string {
	shown := make([]string, 0, 24)
	for _, p := range all[:min(len(all), 24)] {
		shown = append(shown, short(p))
	}
	more := ""
	if len(all) > len(shown) {
		more = fmt.Sprintf(" and %d more", len(all)-len(shown))
	}
	return "[" + strings.Join(shown, " ") + more + "]"
}

// wantClipped checks that an append to returned data cannot write into the store.
func wantClipped(t T, what string, data json.RawMessage) {
	t.Helper()
	if cap(data) != len(data) {
		t.Errorf("%s: data has length %d and capacity %d, want them equal", what, len(data), cap(data))
	}
}
