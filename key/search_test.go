package key

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Where a pattern is a client's and the keys are too, both are chosen to be slow.
var hard = []struct {
	name string
	make func(n int) (pattern, key string)
}{
	{"nearly, at the end of the piece", func(n int) (string, string) {
		return "*" + strings.Repeat("a", n/2) + "b*", strings.Repeat("a", n)
	}},
	{"nearly, at its front", func(n int) (string, string) {
		return "*b" + strings.Repeat("a", n/2) + "*", strings.Repeat("a", n)
	}},
	{"nearly, in its middle", func(n int) (string, string) {
		half := strings.Repeat("a", n/4)
		return "*" + half + "b" + half + "*", strings.Repeat("a", n)
	}},
	{"nearly, again and again", func(n int) (string, string) {
		half := strings.Repeat("a", n/8)
		return "*" + half + "b" + half + "aa*", strings.Repeat(half+"ba", 8)
	}},
	{"many pieces", func(n int) (string, string) {
		return strings.Repeat("*aab", n/16) + "*c*", strings.Repeat("ab", n/4) + strings.Repeat("aab", n/6)
	}},
	{"stars of single bytes", func(n int) (string, string) {
		return strings.Repeat("*a", n/4) + "*b", strings.Repeat("a", n)
	}},
	{"all of one hash", func(n int) (string, string) {
		// Thue and Morse's word, of which two halves collide in each polynomial hash of 2^k.
		word := thueMorse(n)
		return "*" + word[:n/4] + "c*", word
	}},
	{"a square without its end", func(n int) (string, string) {
		word := thueMorse(n / 8)
		return "*" + strings.Repeat(word, 3) + "c*", strings.Repeat(word, 8)
	}},
}

func thueMorse(n int) string {
	word := []byte("a")
	for len(word) < n {
		for _, c := range word[:len(word):len(word)] {
			word = append(word, c^'a'^'b')
		}
	}
	return string(word[:n])
}

// TestSearchLinear bounds the bytes that a search compares, at n and at 4n.
func TestSearchLinear(t *testing.T) {
	for _, c := range hard {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{MaxLength / 4, MaxLength, 4 * MaxLength, 1 << 16} {
				pattern, key := c.make(n)
				work, rest := 0, key
				for _, piece := range strings.Split(strings.Trim(pattern, "*"), "*") {
					at, compared := search(rest, piece)
					work += compared
					if at < 0 {
						break
					}
					rest = rest[at+len(piece):]
				}
				if most := 5 * (len(pattern) + len(key)); work > most {
					t.Errorf("%d bytes of pattern and %d of key: %d comparisons, at most %d", len(pattern), len(key), work, most)
				}
			}
		})
	}
}

// TestMatchLinear matches what no other way than a linear one comes to the end of: a matcher that
// goes back would compare 10^12 bytes.
func TestMatchLinear(t *testing.T) {
	for _, c := range hard {
		t.Run(c.name, func(t *testing.T) {
			pattern, key := c.make(1 << 21)
			if Match(pattern, key) {
				t.Error("it matches")
			}
			if Contains([]string{"x/" + pattern, pattern}, key) || Peer(pattern, key) {
				t.Error("Contains or Peer finds that it matches")
			}
		})
	}
}

func TestSearch(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	word := func(most int) string {
		letters := 1 + random.IntN(3)
		b := make([]byte, random.IntN(most))
		for i := range b {
			b[i] = byte('a' + random.IntN(letters))
		}
		return string(b)
	}
	for range 200_000 {
		s, piece := word(40), word(12)
		if random.IntN(2) == 0 { // with a period
			s = strings.Repeat(s, 1+random.IntN(3))
			piece = strings.Repeat(piece, 1+random.IntN(3))
		}
		if got, _ := search(s, piece); got != strings.Index(s, piece) {
			t.Fatalf("search(%q, %q) = %d, want %d (seed %d)", s, piece, got, strings.Index(s, piece), seed)
		}
	}
}

func ExampleMatch_parts() {
	fmt.Println(Match("logs/*-error-*", "logs/web-error-17"))
	// Output: true
}
