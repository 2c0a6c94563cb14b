package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, "boiler", "roof"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if want := 2*readings + 1 + 2; len(lines) != want {
		t.Fatalf("%d lines, want %d: each reading once, one that the rest is live, one for each device:\n%s", len(lines), want, out.String())
	}
	for i, want := range []string{
		`boiler  sent 25 readings, the newest is {"celsius":24}`,
		`roof    sent 25 readings, the newest is {"celsius":34}`,
	} {
		if got := lines[len(lines)-2+i]; got != want {
			t.Errorf("the table says %q, want %q", got, want)
		}
	}
	if n := strings.Count(out.String(), "what follows happens now"); n != 1 {
		t.Errorf("the rest is said to be live %d times, want once", n)
	}
}
