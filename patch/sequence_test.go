package patch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/internal/testrand"
)

// check verifies a tree and returns how many levels it has.
func (b *branch) check(t *testing.T) (levels int) {
	t.Helper()
	if len(b.items) > width || len(b.below) > width || len(b.items) > 0 && len(b.below) > 0 {
		t.Fatalf("a branch has %d items and %d branches, at most %d of one of them", len(b.items), len(b.below), width)
	}
	size := len(b.items)
	for i, below := range b.below {
		if n := below.check(t); i > 0 && n != levels {
			t.Fatalf("branches of %d and of %d levels stand side by side", levels, n)
		} else {
			levels = n
		}
		if below.size == 0 {
			t.Fatal("a branch is empty")
		}
		size += below.size
	}
	if size != b.size {
		t.Fatalf("a branch counts %d items, there are %d", b.size, size)
	}
	return levels + 1
}

func TestSequenceAgainstSlice(t *testing.T) {
	r := testrand.New(t)
	for round := range 30 {
		var s sequence
		var model []*value
		for i := range r.IntN(8 * fewItems) {
			item := &value{text: fmt.Append(nil, i)}
			s.append(item)
			model = append(model, item)
		}
		growing := r.IntN(3)
		for i := range 4 * fewItems {
			if n := len(model); n > 0 && r.IntN(3) >= growing {
				at := []int{0, n - 1, r.IntN(n), n / 2}[r.IntN(4)]
				if s.remove(at) != model[at] {
					t.Fatalf("round %d: remove(%d) of %d returns another item", round, at, n)
				}
				model = slices.Delete(model, at, at+1)
				continue
			}
			n := len(model)
			at := []int{0, n, r.IntN(n + 1), n / 2}[r.IntN(4)]
			item := &value{text: fmt.Append(nil, -i)}
			s.insert(at, item)
			model = slices.Insert(model, at, item)
		}
		if s.tree != nil {
			s.tree.check(t)
		}
		if got := slices.Collect(s.all()); s.len() != len(model) || !slices.Equal(got, model) {
			t.Fatalf("round %d: %d items, want %d, or in another order", round, s.len(), len(model))
		}
		for i := range model {
			if s.at(i) != model[i] {
				t.Fatalf("round %d: at(%d) is another item", round, i)
			}
		}
	}
}

// TestItemsMoveInSmallPieces applies all the operations that a patch may have at the front, in the middle and at
// both ends of arrays of n and of 16n items: what one of them moves is within the branches on its way.
func TestItemsMoveInSmallPieces(t *testing.T) {
	for _, c := range []struct{ name, even, odd string }{
		{"add at the front", `{"op":"add","path":"/0","value":1}`, `{"op":"add","path":"/0","value":1}`},
		{"add in the middle", `{"op":"add","path":"/9000","value":1}`, `{"op":"add","path":"/17","value":1}`},
		{"remove at the front", `{"op":"remove","path":"/0"}`, `{"op":"remove","path":"/0"}`},
		{"move from the front to the end", `{"op":"move","from":"/0","path":"/-"}`, `{"op":"move","from":"/9000","path":"/0"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			operations, err := parseOperations([]byte("[" + strings.Repeat(c.even+","+c.odd+",", MaxOperations/2-1) + c.even + "," + c.odd + "]"))
			if err != nil {
				t.Fatal(err)
			}
			levels := make(map[int]int)
			for _, n := range []int{20_000, 320_000} {
				root, err := parse([]byte("[" + strings.Repeat("0,", n-1) + "0]"))
				if err != nil {
					t.Fatal(err)
				}
				p := application{root: root, copied: MaxCopied}
				for i := range operations {
					if err := p.apply(&operations[i]); err != nil {
						t.Fatal(err)
					}
				}
				if root.items.tree == nil {
					t.Fatalf("%d items are moved as a whole", n)
				}
				levels[n] = root.items.tree.check(t)
			}
			if levels[320_000] > levels[20_000]+1 {
				t.Errorf("16 times the items are %d levels, %d before", levels[320_000], levels[20_000])
			}
		})
	}
}

// TestTestCostsThePatch tests a large value against a small one, without a copy of it.
func TestTestCostsThePatch(t *testing.T) {
	for name, document := range map[string]string{
		"string": `"` + strings.Repeat(`\n`, 1<<20) + `"`,
		"number": strings.Repeat("1", 1<<20),
		"array":  "[" + strings.Repeat("1,", 1<<20) + "1]",
	} {
		t.Run(name, func(t *testing.T) {
			v, err := parse([]byte(document))
			if err != nil {
				t.Fatal(err)
			}
			for _, small := range []string{`"\n"`, "1", "1.0", "[1]", "{}"} {
				want, err := parse([]byte(small))
				if err != nil {
					t.Fatal(err)
				}
				if n := testing.AllocsPerRun(1, func() {
					if v.equal(want) || want.equal(v) {
						t.Errorf("it is equal to %s", small)
					}
				}); n > 0 {
					t.Errorf("a test against %s allocates %v times", small, n)
				}
			}
		})
	}
}
