package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A change of the store must take the list of mutants with it.
func TestMutantsApply(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two mutants have the name %q", m.name)
		}
		names[m.name] = true
		content, err := os.ReadFile(filepath.Join("..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(content), m.old); n != 1 || m.old == m.new {
			t.Errorf("mutant %q: its text stands %d times in %s, expected once, and to be changed", m.name, n, m.file)
		}
	}
}
