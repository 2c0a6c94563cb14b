package key

import (
	"regexp"
	"strings"
	"testing"
)

// paths are the cases of IsValid and Check; an empty fault means valid.
var paths = []struct{ name, path, fault string }{
	{"one letter", "a", ""},
	{"one segment", "users", ""},
	{"segments", "users/1/posts/2", ""},
	{"every class of byte", "AZaz09-_.", ""},
	{"dots with others", "a.b/.c/d./..e/...", ""},
	{"only dashes", "-/_", ""},
	{"star", "*", ""},
	{"last star", "users/*", ""},
	{"middle star", "users/*/posts", ""},
	{"stars", "*/*/*", ""},
	{"part of a segment", "users/a*b/c*", ""},
	{"two stars in a segment", "a*b*", ""},
	{"star, letter, star", "*a*", ""},
	{"dot and star", ".*/*.", ""},
	{"longest", strings.Repeat("a", MaxLength), ""},
	{"longest with segments", strings.Repeat("ab/c", MaxLength/4), ""},

	{"empty", "", `empty path`},
	{"slash", "/", `empty segment at byte 0`},
	{"leading slash", "/a", `empty segment at byte 0`},
	{"trailing slash", "a/", `empty segment at byte 2`},
	{"double slash", "users//b", `empty segment at byte 6`},
	{"trailing slash after star", "a/*/", `empty segment at byte 4`},
	{"dot", ".", `segment "." at byte 0`},
	{"two dots", "..", `segment ".." at byte 0`},
	{"dot in the middle", "a/./b", `segment "." at byte 2`},
	{"two dots in the middle", "ab/../c", `segment ".." at byte 3`},
	{"two dots at the end", "a/..", `segment ".." at byte 2`},
	{"two stars in a segment end", "a/b**", `"**" at byte 3, expected only as the whole last segment`},
	{"two stars in a segment beginning", "a/**b", `"**" at byte 2, expected only as the whole last segment`},
	{"two stars in the middle", "a/**/b", `"**" at byte 2, expected only as the whole last segment`},
	{"two stars twice", "**/**", `"**" at byte 0, expected only as the whole last segment`},
	{"three stars", "a/***", `"**" at byte 2, expected only as the whole last segment`},
	{"a subtree of the dot", "./**", `segment "." at byte 0`},
	{"a subtree of an empty segment", "a//**", `empty segment at byte 2`},
	{"a subtree at a slash", "/**", `empty segment at byte 0`},
	{"a subtree that is too long", strings.Repeat("a", MaxLength-2) + "/**", `1025 bytes, at most 1024`},
	{"space", "users one", `byte 5, ' ' is not one of A-Z a-z 0-9 - _ . / *`},
	{"first byte", "$a", `byte 0, '$' is not one of A-Z a-z 0-9 - _ . / *`},
	{"quote", "a'", `byte 1, '\'' is not one of A-Z a-z 0-9 - _ . / *`},
	{"backslash", `a\b`, `byte 1, '\\' is not one of A-Z a-z 0-9 - _ . / *`},
	{"zero byte", "a\x00", `byte 1, '\x00' is not one of A-Z a-z 0-9 - _ . / *`},
	{"newline", "a\nb", `byte 1, '\n' is not one of A-Z a-z 0-9 - _ . / *`},
	{"escape sequence", "\x1b[31m", `byte 0, '\x1b' is not one of A-Z a-z 0-9 - _ . / *`},
	{"delete", "a\x7f", `byte 1, '\x7f' is not one of A-Z a-z 0-9 - _ . / *`},
	{"letter that is not ASCII", "caf\u00e9", `byte 3, 'é' is not one of A-Z a-z 0-9 - _ . / *`},
	{"right-to-left override", "a\u202eb", `byte 1, '\u202e' is not one of A-Z a-z 0-9 - _ . / *`},
	{"replacement character", "a\ufffd", `byte 1, '�' is not one of A-Z a-z 0-9 - _ . / *`},
	{"invalid UTF-8", "a\xffb", `byte 1, '\xff' is not one of A-Z a-z 0-9 - _ . / *`},
	{"cut UTF-8", "a\xc3", `byte 1, '\xc3' is not one of A-Z a-z 0-9 - _ . / *`},
	{"the first of two faults", "a//b c", `empty segment at byte 2`},
	{"one byte too long", strings.Repeat("a", MaxLength+1), `1025 bytes, at most 1024`},
	{"too long and bad", strings.Repeat("\x00", 5000), `5000 bytes, at most 1024`},
}

// TestSubtreePatterns says which functions take "**".
func TestSubtreePatterns(t *testing.T) {
	for pattern, want := range map[string]string{
		"**": "", "a/**": "a", "a/b/**": "a/b", "*/**": "*", "a*/x/**": "a*/x",
		strings.Repeat("a", MaxLength-3) + "/**": strings.Repeat("a", MaxLength-3),
	} {
		if err := Check(pattern); err != nil {
			t.Errorf("Check(%q) = %v", pattern, err)
		}
		if root, ok := Root(pattern); root != want || !ok || !IsSubtree(pattern) {
			t.Errorf("Root(%q) = %q, %v, want %q; IsSubtree %v", pattern, root, ok, want, IsSubtree(pattern))
		}
		if IsValid(pattern) || IsGlob(pattern) || !HasGlob(pattern) || ValidateGlob(pattern) == nil {
			t.Errorf("of %q: IsValid %v, IsGlob %v, HasGlob %v, ValidateGlob %v, want false, false, true, an error",
				pattern, IsValid(pattern), IsGlob(pattern), HasGlob(pattern), ValidateGlob(pattern))
		}
	}
	for _, path := range []string{"", "a", "*", "a/*", "a**", "**a", "a/b**"} {
		if root, ok := Root(path); root != path || ok || IsSubtree(path) {
			t.Errorf("Root(%q) = %q, %v, want the path itself", path, root, ok)
		}
	}
}

func TestIsValidAndCheck(t *testing.T) {
	for _, c := range paths {
		t.Run(c.name, func(t *testing.T) {
			if got := IsValid(c.path); got != (c.fault == "") {
				t.Errorf("IsValid(%q) = %v", c.path, got)
			}
			got := ""
			if err := Check(c.path); err != nil {
				got = err.Error()
			}
			if got != c.fault {
				t.Errorf("Check(%q) = %q, want %q", c.path, got, c.fault)
			}
		})
	}
}

// TestEveryByte holds the class table against the grammar, in each place of a segment.
func TestEveryByte(t *testing.T) {
	for b := range 256 {
		c := string([]byte{byte(b)})
		want := strings.Contains("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.*", c)
		for _, path := range []string{"x" + c, c + "x", "x" + c + "x"} {
			if c == "/" {
				continue // its place decides: see the table of paths
			}
			if got := IsValid(path); got != want {
				t.Errorf("IsValid(%q) = %v, want %v", path, got, want)
			}
		}
	}
}

func TestLastIndexAndParent(t *testing.T) {
	for _, c := range []struct{ path, parent, last string }{
		{"", "", ""},
		{"a", "", "a"},
		{"a/b", "a", "b"},
		{"a/b/c", "a/b", "c"},
		{"users/*", "users", "*"},
		{"*", "", "*"},
		{"a/", "a", ""},
		{"/a", "", "a"},
		{"/", "", ""},
		{"a//b", "a/", "b"},
	} {
		t.Run(c.path, func(t *testing.T) {
			if got := Parent(c.path); got != c.parent {
				t.Errorf("Parent(%q) = %q, want %q", c.path, got, c.parent)
			}
			if got := LastIndex(c.path); got != c.last {
				t.Errorf("LastIndex(%q) = %q, want %q", c.path, got, c.last)
			}
		})
	}
}

func TestNoAllocation(t *testing.T) {
	patterns := []string{"a/*", "users/*/posts/p*q*r"}
	const key = "users/17f0c2/posts/p1q2r"
	for name, call := range map[string]func(){
		"IsValid":      func() { _ = IsValid(key) },
		"Check":        func() { _ = Check(key) },
		"Match":        func() { _ = Match(patterns[1], key) },
		"subtree":      func() { _ = Match("users/**", key) && Check("users/**") == nil },
		"Peer":         func() { _ = Peer(key, patterns[1]) },
		"Contains":     func() { _ = Contains(patterns, key) },
		"ValidateGlob": func() { _ = ValidateGlob(patterns[1]) },
		"Decode":       func() { _ = Decode("17f0c2") },
		"Parent":       func() { _ = Parent(key) },
		"LastIndex":    func() { _ = LastIndex(key) },
	} {
		t.Run(name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, call); n != 0 {
				t.Errorf("%v allocations, want none", n)
			}
		})
	}
}

// grammar is the contract's, but for what a regular expression says badly: the length, the
// segments "." and "..", and adjacent stars.
var grammar = regexp.MustCompile(`\A[A-Za-z0-9\-_.*]+(/[A-Za-z0-9\-_.*]+)*\z`)

func validBySpec(path string) bool {
	if len(path) > 1024 || strings.Contains(path, "**") || !grammar.MatchString(path) {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

func FuzzValid(f *testing.F) {
	for _, c := range paths {
		f.Add(c.path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		want := validBySpec(path)
		if got := IsValid(path); got != want {
			t.Errorf("IsValid(%q) = %v, want %v", path, got, want)
		}
		err := Check(path)
		root, isSubtree := strings.CutSuffix("/"+path, "/**")
		root = strings.TrimPrefix(root, "/")
		accepted := want || isSubtree && len(path) <= 1024 && (path == "**" || validBySpec(root))
		if (err == nil) != accepted {
			t.Errorf("Check(%q) = %v, want an error: %v", path, err, !accepted)
		}
		if err == nil {
			if parent := Parent(path); parent != "" && !IsValid(parent) {
				t.Errorf("Parent(%q) = %q is not valid", path, parent)
			}
			return
		}
		if text := err.Error(); len(text) > 80 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("Check(%q): the error %q is not one short line", path, text)
		}
		_, _ = LastIndex(path), Parent(path) // they do not panic
	})
}

func BenchmarkIsValid(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		IsValid("users/17f0c2d5a9b3e8c1/posts/1")
	}
}

func BenchmarkCheck(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := Check("users/17f0c2d5a9b3e8c1/posts/1"); err != nil {
			b.Fatal(err)
		}
	}
}
