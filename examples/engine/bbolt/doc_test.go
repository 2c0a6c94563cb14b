package bbolt

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What the document shows of this engine is in it, word for word.
func TestDocument(t *testing.T) {
	document, err := os.ReadFile("../../../docs/writing-an-engine.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("bbolt.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)\n```go\n(.*?)```\n").FindAllSubmatch(document, -1)
	if len(shown) < 4 {
		t.Errorf("the document shows %d parts of the engine, want 4 or more", len(shown))
	}
	for _, part := range shown {
		if !strings.Contains(string(code), string(part[1])) {
			t.Errorf("bbolt.go does not hold this, which the document shows:\n%s", part[1])
		}
	}
}
