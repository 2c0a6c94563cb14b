package command

import (
	"strings"
	"testing"

	"github.com/rivo/uniseg"
)

func TestClip(t *testing.T) {
	for _, test := range []struct {
		name, text string
		columns    int
		want       string
	}{
		{"fits", "abc", 3, "abc"},
		{"cut", "abcd", 3, "ab…"},
		{"wide", "漢字漢字", 5, "漢字…"},
		{"wide does not fit in half", "漢字漢字", 4, "漢…"},
		{"combining", "e\u0301e\u0301e\u0301", 2, "e\u0301…"},
		{"emoji of several runes", "👨‍👩‍👧‍👦xyz", 3, "👨‍👩‍👧‍👦…"},
		{"empty", "", 1, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := clip(test.text, test.columns); got != test.want {
				t.Errorf("clip(%q, %d) = %q, want %q", test.text, test.columns, got, test.want)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ name, json, want string }{
		{"plain", `{"a":"é漢🙂"}`, `{"a":"é漢🙂"}`},
		{"joiner stays", "\"نمی\u200cخواهم\"", "\"نمی\u200cخواهم\""},
		{"lines become one", "{\n\t\"a\":\r\n1}", `{  "a":  1}`},
		{"C1 control", "\"\u009b31m\"", `"\u009b31m"`},
		{"escape", "\x1b[31m", `\u001b[31m`},
		{"delete", "\x7f", `\u007f`},
		{"direction override", "\"\u202egnp\"", `"\u202egnp"`},
		{"no UTF-8", "\"\xff\"", "\"\ufffd\""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := printable(test.json); got != test.want {
				t.Errorf("printable(%q) = %q, want %q", test.json, got, test.want)
			}
		})
	}
}

// No line of a table is wider than its terminal, whatever is long.
func TestTableFits(t *testing.T) {
	long := strings.Repeat("a/b", 300)
	for _, rows := range [][][]string{
		{{"2026-01-03T00:00:00.000Z", long, "1"}, {"2026-01-03T00:00:00.000Z", "a", long}},
		{{long, long, long}}, {{"a", "b", "c"}}, {{long, "b", ""}}, {{"a", "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字", "漢字"}},
	} {
		for width := 2; width < 140; width++ {
			var out strings.Builder
			if err := table(&out, terminal{is: true, width: width}, []string{"CREATED", "PATH", "DATA"}, rows); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				if got := uniseg.StringWidth(strings.TrimSuffix(line, "\n")); got > width {
					t.Fatalf("on %d columns a line has %d: %q", width, got, line)
				}
			}
		}
	}
	var out strings.Builder
	if err := table(&out, terminal{is: true, width: 60}, []string{"CREATED", "PATH", "DATA"},
		[][]string{{"2026-01-03T00:00:00.000Z", long, `{"n":3}`}, {"2026-01-03T00:00:00.000Z", "a", `{"name":"Lisboa"}`}}); err != nil {
		t.Fatal(err)
	}
	want := "CREATED                   PATH                  DATA\n" +
		"2026-01-03T00:00:00.000Z  a/ba/ba/ba/ba/ba/ba…  {\"n\":3}\n" +
		"2026-01-03T00:00:00.000Z  a                     {\"name\":\"Li…\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestTable(t *testing.T) {
	header := []string{"PATH", "DATA"}
	rows := [][]string{{"a/b", `{"name":"Lisboa"}`}, {"漢", `{"name":"Zürich","country":"CH"}`}}
	for _, test := range []struct {
		name   string
		screen terminal
		want   string
	}{
		{"no terminal", terminal{}, "a/b\t{\"name\":\"Lisboa\"}\n漢\t{\"name\":\"Zürich\",\"country\":\"CH\"}\n"},
		{"wide", terminal{is: true, width: 80}, "PATH  DATA\na/b   {\"name\":\"Lisboa\"}\n漢    {\"name\":\"Zürich\",\"country\":\"CH\"}\n"},
		{"clipped", terminal{is: true, width: 26}, "PATH  DATA\na/b   {\"name\":\"Lisboa\"}\n漢    {\"name\":\"Zürich\",\"c…\n"},
		{"narrower than the columns", terminal{is: true, width: 3}, "PA…\na/…\n漢…\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			if err := table(&out, test.screen, header, rows); err != nil {
				t.Fatal(err)
			}
			if out.String() != test.want {
				t.Errorf("got\n%s\nwant\n%s", out.String(), test.want)
			}
		})
	}
}
