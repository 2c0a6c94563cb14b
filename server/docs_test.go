package server_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/server"
)

// Each kind of problem has a heading and its status in docs/problems.md, and each heading is a kind.
func TestProblemsAreDocumented(t *testing.T) {
	source, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	var kinds, headings []string
	for _, found := range regexp.MustCompile(`Kind += "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1) {
		kinds = append(kinds, found[1])
	}
	for _, found := range regexp.MustCompile(`(?m)^## ([a-z-]+)\n([0-9]{3})\. `).FindAllStringSubmatch(string(text), -1) {
		headings = append(headings, found[1])
		if status := (&server.Problem{Kind: server.Kind(found[1])}).Status(); strings.TrimSpace(found[2]) != strconv.Itoa(status) {
			t.Errorf("docs/problems.md has %s as %s, the server answers %d", found[1], found[2], status)
		}
	}
	slices.Sort(kinds)
	slices.Sort(headings)
	if len(kinds) < 20 || !slices.Equal(kinds, headings) {
		t.Errorf("kinds %q\nheadings %q", kinds, headings)
	}
}

// Each limit is in docs/server.md with its name.
func TestLimitsAreDocumented(t *testing.T) {
	source, err := os.ReadFile("options.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/server.md")
	if err != nil {
		t.Fatal(err)
	}
	_, limits, _ := strings.Cut(string(source), "type Limits struct {")
	limits, _, _ = strings.Cut(limits, "\n}")
	names := regexp.MustCompile(`(?m)^\t([A-Z][A-Za-z]+) `).FindAllStringSubmatch(limits, -1)
	if len(names) < 10 {
		t.Fatalf("only %d limits were found", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(text), "| `"+name[1]+"` |") {
			t.Errorf("docs/server.md has no row for the limit %s", name[1])
		}
	}
}
