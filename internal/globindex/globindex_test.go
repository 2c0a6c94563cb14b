package globindex

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/key"
)

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func randomPattern(r *rand.Rand) string {
	if r.IntN(20) == 0 {
		return ""
	}
	segments := make([]string, 1+r.IntN(3))
	for i := range segments {
		segments[i] = pick(r, "a", "b", "ab", "*", "a*", "*b", "a*b")
	}
	return strings.Join(segments, "/")
}

// TestAgainstModel compares the index with a list of patterns that are all looked at.
func TestAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	type held struct {
		pattern string
		value   int
	}
	var index Index[int]
	model := map[held]bool{}
	for range 5000 {
		h := held{randomPattern(r), r.IntN(8)}
		if r.IntN(2) == 0 {
			index.Add(h.pattern, h.value)
			model[h] = true
		} else {
			index.Remove(h.pattern, h.value)
			delete(model, h)
		}
		path := pick(r, "a", "b", "ab", "x") + "/" + pick(r, "a", "b", "ab", "aab", "x")
		if r.IntN(3) == 0 {
			path = pick(r, "a", "ab", "b")
		}
		var got, want []int
		index.Match(path, func(v int) { got = append(got, v) })
		for h := range model {
			if h.pattern == "" || key.Match(h.pattern, path) {
				want = append(want, h.value)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%q matches %v, want %v", path, got, want)
		}
		n := 0
		index.Each(func(int) { n++ })
		if index.Len() != len(model) || n != len(model) {
			t.Fatalf("Len is %d, Each visits %d, want %d", index.Len(), n, len(model))
		}
	}
	for h := range model {
		index.Remove(h.pattern, h.value)
	}
	if !index.root.empty() || len(index.all) != 0 || index.Len() != 0 {
		t.Errorf("after all is removed the index is not empty: %+v", index.root)
	}
}

// BenchmarkMatch shows that patterns of other paths cost nothing.
func BenchmarkMatch(b *testing.B) {
	for _, others := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			var index Index[int]
			index.Add("devices/*/state", 0)
			for i := range others {
				index.Add(fmt.Sprintf("rooms/%d/*", i), i+1)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				index.Match("devices/17/state", func(int) { n++ })
			}
			if n == 0 {
				b.Fatal("nothing matched")
			}
		})
	}
}
