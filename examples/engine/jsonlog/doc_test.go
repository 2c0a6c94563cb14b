package jsonlog

import (
	"os"
	"regexp"
	"testing"
)

// The document shows the whole of three files, each in parts with an empty line between
// them, in blocks that begin with the file's name.
func TestDocument(t *testing.T) {
	document, err := os.ReadFile("../../../docs/writing-an-engine.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`\n(\w{8} devices/lamp .*)\n`).FindSubmatch(document)
	if line == nil {
		t.Error("the document shows no line of a log")
	} else if _, e, err := decode(string(line[1])); err != nil || string(e.Data) != `{"on":true}` {
		t.Errorf("the line of a log that the document shows: %s, error %v", e.Data, err)
	}
	shown := map[string]string{}
	for _, block := range regexp.MustCompile("(?s)\n```go (\\S+)\n(.*?)```\n").FindAllSubmatch(document, -1) {
		name, text := string(block[1]), string(block[2])
		if shown[name] != "" {
			text = "\n" + text
		}
		shown[name] += text
	}
	if len(shown) != 3 {
		t.Errorf("the document shows parts of %d files, want 3", len(shown))
	}
	for name, text := range shown {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Errorf("the document shows a file that is not there: %v", err)
		} else if text != string(file) {
			t.Errorf("docs/writing-an-engine.md does not hold %s word for word, in order", name)
		}
	}
}
