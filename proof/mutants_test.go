package main

import (
	"os"
	"path/filepath"
	"testing"
)

// A change of the store must take the list of mutants with it, where it changes what a mutant changes.
func TestMutantsApply(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two mutants have the name %q", m.name)
		}
		names[m.name] = true
		if _, _, err := m.apply(".."); err != nil {
			t.Error(err)
		}
		if normal([]byte(m.old)) == normal([]byte(m.new)) {
			t.Errorf("mutant %q changes nothing", m.name)
		}
	}
}

// A mutant is found by what stands in its function, whatever is around it, and there only.
func TestMutantIsFound(t *testing.T) {
	dir := t.TempDir()
	source := `package p

func f(a, b int) int { return a + b }

// g is what is mutated.
func (x *list[T]) g(a, b int) int {
	// before
	if a+ /* here */ b > 7 {
		f(
			a,
			b,
		)
		// between
		return a
	}
	for i := 0; i < a; i++ {
		f(b, a)
	}
	return a + b
}
`
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in, old, new string
		ok           bool
	}{
		{". list.g", "a+b > 7", "a > 7", true},
		{". list.g", "f(a, b); return a", "return b", true},
		{". list.g", "f(a, b)", "", true},
		{". list.g", "i++", "i += 2", true},
		{". list.g", "if a+b > 7 { f(a, b); return a }", "", true},
		{". f", "a + b", "a - b", true},
		{". list.g", "a + b", "a - b", false}, // twice
		{". list.g", "a - b", "a", false},
		{". g", "i++", "", false},
		{". list.g", "i++", "i +", false}, // no Go
	} {
		m := mutant{name: "test", in: c.in, old: c.old, new: c.new}
		if _, content, err := m.apply(dir); (err == nil) != c.ok || c.ok && normal(content) == normal([]byte(source)) {
			t.Errorf("%s: %q to %q: %v", c.in, c.old, c.new, err)
		}
	}
}
