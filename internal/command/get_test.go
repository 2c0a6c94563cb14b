package command

import (
	"testing"
)

func TestGet(t *testing.T) {
	c := newCLI(t)
	c.days()
	c.run("get", "days/b").ok().prints(`{"n":2}` + "\n")
	c.run("get", "days/b", "--json").ok().
		contains(`{"created":1767312000000000000,"updated":5,"index":"b","path":"days/b","data":{"n":2},"revision":`)
	c.run("get", "days/z").is(exitNotFound, `"days/z"`)
	c.run("get", "days/*").is(exitUsage, `"days/*"`)
	c.run("get", "days//a").is(exitUsage, `"days//a"`)
	c.run("get", "São Paulo").is(exitUsage, `get "São Paulo"`)
}

// TestGetKeepsBytes shows that data is written as it was stored, but on a terminal, which
// it must not control.
func TestGetKeepsBytes(t *testing.T) {
	c := newCLI(t)
	const data = "{ \"a\" :\n\t\"\u009b31m\u202e\" , \"n\":1.50 }"
	c.run("set", "a", data).ok()
	c.run("get", "a").ok().prints(data + "\n")
	c.env.out = terminal{is: true, width: 80}
	c.run("get", "a").ok().prints(`{ "a" :  "\u009b31m\u202e" , "n":1.50 }` + "\n")
}
