package globindex

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/key"
)

func randomPattern(r *rand.Rand) string {
	if r.IntN(20) == 0 {
		return ""
	}
	return testrand.Pattern(r, 3, "a", "b", "ab", "*", "a*", "*b", "a*b", "*a*", "*ab*", "a*b*", "a*a*b*b", "*b*a*", "ab*ab")
}

// TestAgainstModel compares the index with a list of patterns that are all looked at.
func TestAgainstModel(t *testing.T) {
	r := testrand.New(t)
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
		path := testrand.Joined(r, 4, "a", "b", "ab", "x", "aab", "abab", "aabb", "bab")
		var want []int
		got := index.Append(nil, path)
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
		most := len(got) / 2
		if some, all := index.AppendMost(nil, path, most); len(some) != most || all != (most == len(got)) {
			t.Fatalf("of %d values of %q AppendMost(%d) has %d, all: %v", len(got), path, most, len(some), all)
		}
		if some, all := index.AppendMost(nil, path, len(got)); len(some) != len(got) || !all {
			t.Fatalf("of %d values of %q AppendMost has %d, all: %v", len(got), path, len(some), all)
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

// What is added twice counts once, and a removal of what is not there changes nothing.
func TestAddTwiceAndRemoveNothing(t *testing.T) {
	var index Index[string]
	for range 2 {
		index.Add("a/*", "x")
		index.Add("", "x")
	}
	index.Remove("a/*", "y")
	index.Remove("a/b", "x")
	index.Remove("a/*/c", "x")
	index.Remove("b*", "x")
	index.Remove("", "y")
	if got := index.Append(nil, "a/1"); index.Len() != 2 || !slices.Equal(got, []string{"x", "x"}) {
		t.Errorf("Len is %d, a/1 matches %v, want 2 values", index.Len(), got)
	}
	if got := index.Append([]string{"before"}, ""); !slices.Equal(got, []string{"before", "x"}) {
		t.Errorf("the empty path matches %v, want what stands under the empty pattern, behind what was there", got)
	}
}

// What one segment costs does not grow with the partial globs that it does not match, wherever their stars are.
func TestPartialGlobsCostEachOtherNothing(t *testing.T) {
	forms := map[string]string{"head": "%d-*", "tail": "*-%d", "middle": "*-%d-*", "both": "a%d-*-z", "three": "a*-%d-*z"}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			work := func(n int) (looks int) {
				var index Index[int]
				for i := range n {
					index.Add("u/"+fmt.Sprintf(form, i+1_000_000), i)
				}
				segment := "a1000017-1000017-1000017-z"
				p := index.root.literal["u"].partial
				looks = len(p.heads.widths)
				for _, head := range p.heads.widths {
					tails := p.heads.of[segment[:head.bytes]]
					if tails == nil {
						continue
					}
					looks += len(tails.widths)
					for _, tail := range tails.widths {
						cores := tails.of[segment[len(segment)-tail.bytes:]]
						if cores == nil {
							continue
						}
						looks += len(cores.widths) * len(segment)
						for _, list := range cores.of {
							if len(*list) > 1 {
								looks += len(*list)
							}
						}
					}
				}
				return looks
			}
			if few, many := work(1000), work(4000); many > few {
				t.Errorf("1000 globs cost a segment %d looks, 4000 cost %d", few, many)
			}
		})
	}
}

// BenchmarkMatch shows that patterns of other paths cost nothing.
func BenchmarkMatch(b *testing.B) {
	for _, others := range []int{0, 1000, 100_000} {
		var index Index[int]
		index.Add("devices/*/state", 0)
		for i := range others {
			index.Add(fmt.Sprintf("rooms/%d/*", i), i+1)
		}
		b.Run(fmt.Sprintf("append/others=%d", others), func(b *testing.B) {
			b.ReportAllocs()
			var found []int
			for b.Loop() {
				found = index.Append(found[:0], "devices/17/state")
			}
			if len(found) != 1 {
				b.Fatalf("found %v, want one value", found)
			}
		})
		b.Run(fmt.Sprintf("most/others=%d", others), func(b *testing.B) {
			b.ReportAllocs()
			var found []int
			all := false
			for b.Loop() {
				if found, all = index.AppendMost(found[:0], "devices/17/state", 4); len(found) == 0 {
					b.Fatal("the wrong paths match", all)
				}
			}
		})
	}
}

// BenchmarkPartial shows that partial globs beside each other cost a path nothing.
func BenchmarkPartial(b *testing.B) {
	for _, form := range []string{"u/%d-*", "u/*-%d", "u/*-%d-*"} {
		for _, others := range []int{1, 10_000} {
			var index Index[int]
			for i := range others {
				index.Add(fmt.Sprintf(form, i), i)
			}
			b.Run(fmt.Sprintf("%s/others=%d", form, others), func(b *testing.B) {
				b.ReportAllocs()
				var found []int
				for b.Loop() {
					found = index.Append(found[:0], "u/0-0-0")
				}
				if len(found) != 1 {
					b.Fatalf("found %v, want one value", found)
				}
			})
		}
	}
}
