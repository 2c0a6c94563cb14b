package key

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBuild(t *testing.T) {
	for _, c := range []struct{ pattern, before, after string }{
		{"*", "", ""},
		{"users/*", "users/", ""},
		{"users/*/posts", "users/", "/posts"},
		{"users/u*x", "users/u", "x"},
		{"a/*/b/*", "a/*/b/", ""},
		{"a*b*c", "a*b", "c"},
	} {
		t.Run(c.pattern, func(t *testing.T) {
			before := time.Now().Add(-time.Hour).UnixNano()
			first, second := Build(c.pattern), Build(c.pattern)
			times := [2]int64{}
			for i, built := range []string{first, second} {
				index, ok := strings.CutPrefix(built, c.before)
				index, ok2 := strings.CutSuffix(index, c.after)
				if !ok || !ok2 {
					t.Fatalf("Build(%q) = %q", c.pattern, built)
				}
				if !IsValid(built) {
					t.Errorf("Build(%q) = %q is not valid", c.pattern, built)
				}
				times[i] = Decode(index)
			}
			if times[0] < before {
				t.Errorf("Decode of %q = %d, more than an hour ago", first, times[0])
			}
			if times[1] <= times[0] {
				t.Errorf("the second time %d is not after the first %d", times[1], times[0])
			}
		})
	}
	for _, path := range []string{"", "a", "users/1"} {
		if got := Build(path); got != path {
			t.Errorf("Build(%q) = %q, want it unchanged", path, got)
		}
	}
}

func TestAt(t *testing.T) {
	for _, c := range []struct {
		pattern string
		time    int64
		want    string
	}{
		{"users/*", 0x17f0c2, "users/17f0c2"},
		{"a/*/b/*", 0xab, "a/*/b/ab"},
		{"*", math.MaxInt64, "7fffffffffffffff"},
		{"users/1", 5, "users/1"},
		{"", 5, ""},
	} {
		if got := At(c.pattern, c.time); got != c.want {
			t.Errorf("At(%q, %d) = %q, want %q", c.pattern, c.time, got, c.want)
		}
	}
}

// TestLongestBuild holds the 15 bytes that Build's text names.
func TestLongestBuild(t *testing.T) {
	if got := len(At("*", math.MaxInt64)) - len("*"); got != 15 {
		t.Errorf("the longest index is %d bytes longer than its '*', want 15", got)
	}
}

var indexes = []struct {
	name, index string
	want        int64
}{
	{"one", "1", 1},
	{"digits and letters", "17f0c2", 0x17f0c2},
	{"all letters", "abcdef", 0xabcdef},
	{"a time", "18bcfe56800000ff", 0x18bcfe56800000ff},
	{"greatest", "7fffffffffffffff", math.MaxInt64},
	{"empty", "", 0},
	{"zero", "0", 0},
	{"leading zero", "01", 0},
	{"over the greatest", "8000000000000000", 0},
	{"greatest unsigned", "ffffffffffffffff", 0},
	{"too many digits", "10000000000000000", 0},
	{"upper case", "17F0C2", 0},
	{"negative", "-1", 0},
	{"plus", "+1", 0},
	{"prefix", "0x1", 0},
	{"underscore", "1_0", 0},
	{"not hexadecimal", "17g", 0},
	{"space", " 1", 0},
	{"path", "users/17f0c2", 0},
	{"star", "*", 0},
	{"digit that is not ASCII", "\u0661", 0},
}

func TestDecode(t *testing.T) {
	for _, c := range indexes {
		t.Run(c.name, func(t *testing.T) {
			if got := Decode(c.index); got != c.want {
				t.Errorf("Decode(%q) = %d, want %d", c.index, got, c.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range indexes {
		f.Add(c.index, c.want)
	}
	f.Add("", int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, index string, at int64) {
		// From the text: strconv accepts more than Decode, and gives back what Decode takes.
		want, err := strconv.ParseInt(index, 16, 64)
		if err != nil || want <= 0 || strconv.FormatInt(want, 16) != index {
			want = 0
		}
		if got := Decode(index); got != want {
			t.Errorf("Decode(%q) = %d, want %d", index, got, want)
		}
		// From the time: the inverse of At.
		if got := Decode(At("*", at)); got != max(at, 0) {
			t.Errorf("Decode(At(%d)) = %d, want %d", at, got, max(at, 0))
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Build("users/*")
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Decode("18bcfe56800000ff")
	}
}
