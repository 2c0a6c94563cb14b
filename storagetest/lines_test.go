package storagetest

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// badLayer fails in the ways that end a clause: by an error, and by a panic.
type badLayer struct{ *storage.MemoryLayer }

func (l badLayer) Get(path string) (meta.Object, error) {
	if strings.Contains(path, "*") {
		panic("on purpose")
	}
	return l.MemoryLayer.Get(path)
}

func (l badLayer) GetList(string) ([]meta.Object, error) { return nil, os.ErrClosed }

// TestFailuresHaveLines runs the suite on a layer that fails, in another process, and looks where its failures point: at a line of a
// clause, or at this file, which runs the suite.
func TestFailuresHaveLines(t *testing.T) {
	if os.Getenv("FAILING") != "" {
		TestLayer(t, func(T) storage.Layer { return badLayer{storage.NewMemoryLayer()} }, Options{Patience: brief})
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestFailuresHaveLines$/^LAYER-(03|05|10|16)$")
	child.Env = append(os.Environ(), "FAILING=1")
	out, err := child.CombinedOutput()
	if err == nil {
		t.Fatalf("the suite passes on a layer that fails:\n%s", out)
	}
	lines := regexp.MustCompile(`(?m)^ +(\w+\.go):\d+: (.*)$`).FindAllStringSubmatch(string(out), -1)
	demands, panics := 0, 0
	for _, line := range lines {
		switch {
		case strings.Contains(line[2], " demands: "):
			demands++
		case strings.HasPrefix(line[2], "panic: on purpose"):
			panics++
		case line[1] == "layer.go" || line[1] == "check.go":
			continue
		}
		if line[1] != "lines_test.go" {
			t.Errorf("a failure points at %s: %s", line[1], line[2])
		}
	}
	if demands < 3 || panics == 0 {
		t.Errorf("%d demands and %d panics are told, want 3 and 1 or more:\n%s", demands, panics, out)
	}
}
