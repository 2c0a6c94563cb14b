package command

import "testing"

func TestKeys(t *testing.T) {
	c := newCLI(t)
	c.days()
	c.run("set", "days-x", "1").ok()
	c.run("set", "days/b/below", "1").ok()
	c.run("keys").ok().prints("days-x\ndays/a\ndays/b\ndays/b/below\ndays/c\nother/deep/d\n") // byte order
	c.run("keys", "days/*").ok().prints("days/a\ndays/b\ndays/c\n")
	c.run("keys", "*/*/*").ok().prints("days/b/below\nother/deep/d\n")
	c.run("keys", "d*").ok().prints("days-x\n")
	c.run("keys", "*", "--json").ok().prints("\"days-x\"\n")
	c.run("keys", "none/*").ok().prints("")
	c.run("keys", "days").is(exitUsage, `pattern "days": it has no '*'`)
	c.run("keys", "**/b").is(exitUsage, `pattern "**/b"`)
	c.run("keys", "days/**").ok().prints("days/a\ndays/b\ndays/b/below\ndays/c\n")
	c.run("keys", "**").ok().prints("days-x\ndays/a\ndays/b\ndays/b/below\ndays/c\nother/deep/d\n")
}
