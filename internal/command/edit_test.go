package command

import (
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// editor makes the program that edits: a script that gets the name of the file.
func (c *cli) editor(script string) {
	c.t.Helper()
	if runtime.GOOS == "windows" {
		c.t.Skip("the editor is a script for a POSIX shell")
	}
	name := c.file("editor", "#!/bin/sh\n"+script+"\n")
	if err := os.Chmod(name, 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.t.Setenv("TMPDIR", c.t.TempDir())
	getenv := c.env.getenv
	c.env.getenv = func(variable string) string {
		if variable == "EDITOR" {
			return name + " --wait"
		}
		return getenv(variable)
	}
}

// drafts are the files that edits left.
func drafts(t *testing.T) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestEdit(t *testing.T) {
	onBoth(t, func(t *testing.T, c *cli) {
		c.editor(`cat "$2" > "$2.seen"; sed 's/blue/grey/' "$2.seen" > "$2"; rm "$2.seen"`)
		c.run("edit", "config/colours").is(exitOK, "nothing was changed")
		c.run("set", "config/colours", `{"sky":"blue","n":12345678901234567890}`, "--ttl", "5h").ok()
		c.run("edit", "config/colours").ok().prints("config/colours\n")
		if obj := c.object("config/colours"); string(obj.Data) != `{"sky":"grey","n":12345678901234567890}` || obj.Expires == 0 {
			t.Errorf("edited: %s, expires %d", obj.Data, obj.Expires)
		}
		c.run("edit", "config/colours").is(exitOK, "nothing was changed")
		c.run("edit", "a/*").is(exitUsage, "glob")

		c.editor(`echo '{"made":true}' > "$2"`)
		c.run("edit", "new", "--json").ok().contains(`"path":"new","data":{"made":true}`)
		if left := drafts(t); len(left) != 0 {
			t.Errorf("drafts are left: %v", left)
		}

		for _, test := range []struct {
			script, want string
			code         int
		}{
			{`echo '{"typed":' > "$2"`, "invalid JSON", exitUsage},
			{`echo > "$2"`, "it is empty", exitUsage},
			{`echo '{"typed":1}' > "$2"; exit 3`, "exit status 3", exitFailure},
		} {
			c.editor(test.script)
			r := c.run("edit", "new").is(test.code, test.want)
			file := regexp.MustCompile(`your text is in (\S+);`).FindStringSubmatch(r.errors)
			if file == nil {
				t.Fatalf("no file is named: %s", r.errors)
			}
			if _, err := os.Stat(file[1]); err != nil {
				t.Error(err)
			}
		}
		c.editor("exit 3")
		c.run("edit", "new").is(exitFailure, "exit status 3")
		if left := drafts(t); len(left) != 0 {
			t.Errorf("what nobody typed is kept: %v", left)
		}
		c.run("get", "new").ok().prints(`{"made":true}` + "\n")
	})
}

// What somebody else wrote meanwhile stays, and so does what was typed.
func TestEditConflict(t *testing.T) {
	onBoth(t, func(t *testing.T, c *cli) {
		for _, test := range []struct {
			meanwhile []string
			want      string
		}{
			{[]string{"set", "a", "2"}, "somebody else changed it in the meantime to revision "},
			{[]string{"del", "a"}, "it was deleted in the meantime"},
		} {
			c.run("set", "a", "1").ok()
			oolith := processes(t, roleProgram)(test.meanwhile...)
			command := "cd " + shellQuote(oolith.Dir) + "; " + roleVariable + "=" + roleProgram + " " + storeVariable + "=" + shellQuote(c.store)
			for _, word := range oolith.Args {
				command += " " + shellQuote(word)
			}
			c.editor("echo '\"typed\"' > \"$2\"; " + command + " >/dev/null")
			r := c.run("edit", "a").is(exitConflict, test.want)
			file := regexp.MustCompile(`your text is in (\S+); compare it with oolith get a, then (oolith set .*)\n`).FindStringSubmatch(r.errors)
			if file == nil {
				t.Fatalf("no file is named: %s", r.errors)
			}
			if text, err := os.ReadFile(file[1]); err != nil || string(text) != "\"typed\"\n" {
				t.Errorf("what was typed: %q, %v", text, err)
			}
			// What it says to do works.
			args := strings.Fields(file[2])[1:]
			for i := range args {
				args[i] = strings.Trim(args[i], "'")
			}
			c.run(args...).ok()
			c.run("get", "a").ok().prints("\"typed\"\n")
		}
	})
}
