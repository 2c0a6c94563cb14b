package main

import (
	"bytes"
	"testing"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	want := `pump keeps 5 of 100 lines: {"line":95} {"line":96} {"line":97} {"line":98} {"line":99}
valve keeps 5 of 100 lines: {"line":95} {"line":96} {"line":97} {"line":98} {"line":99}
`
	if out.String() != want {
		t.Errorf("it says\n%swant\n%s", out.String(), want)
	}
}
