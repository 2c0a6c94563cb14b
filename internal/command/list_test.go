package command

import (
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.days()
	const (
		a = "2026-01-01T00:00:00.000000000Z\tdays/a\t{\"n\":1}\n"
		b = "2026-01-02T00:00:00.000000000Z\tdays/b\t{\"n\":2}\n"
		d = "2026-01-03T00:00:00.000000000Z\tdays/c\t{\"n\":3}\n"
	)
	for _, test := range []struct{ flags, want string }{
		{"", d + b + a},
		{"--oldest", a + b + d},
		{"--limit 2", d + b},
		{"-n 2 --oldest", a + b},
		{"--limit 0", d + b + a},
		{"--limit 0 --oldest", a + b + d},
		{"--from 2026-01-02T00:00:00Z", d + b},
		{"--to 2026-01-02T00:00:00Z", b + a},
		{"--from 2026-01-02T00:00:00Z --to 2026-01-02T00:00:00Z", b},
		{"--from 2026-01-02T00:00:00Z --oldest", b + d},
		{"--from 2026-01-01T00:00:00Z --oldest -n 1", a},
		{"--from 2026-01-01T00:00:00Z -n 1", d},
		{"--from 2026-01-01T00:00:00Z -n 0", d + b + a},
		{"--from 1767225600000000001 --to 1767312000000000000", b},
		{"--from 2027-01-01T00:00:00Z", ""},
	} {
		c.run(append([]string{"list", "days/*"}, strings.Fields(test.flags)...)...).ok().prints(test.want)
	}
	c.run("list", "none/*").ok().prints("")
	c.run("list", "*/deep/*", "--json").ok().
		contains(`{"created":1767484800000000000,"updated":0,"index":"d","path":"other/deep/d","data":"four","revision":`)
}

func TestListOnATerminal(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.days()
	c.run("set", "wide", `{"name":"漢字漢字漢字漢字漢字"}`).ok()
	c.env.out = terminal{is: true, width: 60}
	c.run("list", "days/*", "-n", "2").ok().prints("" +
		"CREATED                   PATH    DATA\n" +
		"2026-01-03T00:00:00.000Z  days/c  {\"n\":3}\n" +
		"2026-01-02T00:00:00.000Z  days/b  {\"n\":2}\n")
	wide := strings.Split(c.run("list", "*").ok().out, "\n")[1]
	if !strings.HasSuffix(wide, `  wide  {"name":"漢字漢字漢字漢字漢…`) {
		t.Errorf("the data is not clipped to 60 columns: %q", wide)
	}
	c.run("list", "none/*").ok().prints("nothing matches\n")
	c.run("list", "days/*", "-n", "1", "--json").ok().contains(`{"created":1767398400000000000,`)
}

func TestListRefuses(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.days()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"days"}, `pattern "days": it has no '*', expected a pattern such as "days/*"; use get for one object`},
		{[]string{"days/**/x"}, `pattern "days/**/x"`},
		{[]string{""}, `pattern ""`},
		{[]string{"days/*", "--limit", "-1"}, "--limit -1: expected 0 (for all) or more"},
		{[]string{"days/*", "--from", "monday"}, `--from: "monday", expected RFC 3339`},
		{[]string{"days/*", "--to", "monday"}, `--to: "monday", expected RFC 3339`},
		{[]string{"days/*", "--from", "2", "--to", "1"}, "--to 1 is before --from 2"},
	} {
		c.run(append([]string{"list"}, test.args...)...).is(exitUsage, test.want).prints("")
	}
}
