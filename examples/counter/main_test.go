package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, 8, 100); err != nil {
		t.Fatal(err)
	}
	if want := "8 goroutines counted to 800; "; !strings.HasPrefix(out.String(), want) {
		t.Errorf("it says %q, want %q...", out.String(), want)
	}
}
