package command

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
)

// A database of older software in which an entry is no object: each command that meets it names it and the ways
// out, and all of them are there.
func TestEntryThatIsNoObject(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	dir := filepath.Join(t.TempDir(), "old")
	db, err := leveldb.OpenFile(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"a/good": `{"created":1,"data":1}`, "a/bad": `{"a":`, "a/none": ""} {
		err = errors.Join(err, db.Put([]byte(key), []byte(value), nil))
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	c.store = "ko:" + dir
	for _, line := range []string{"info", "list a/*", "export"} {
		failed := c.run(strings.Fields(line)...)
		if failed.code == exitOK || !strings.Contains(failed.errors, `"a/bad"`) || !strings.Contains(failed.errors, "invalid=skip") ||
			!strings.Contains(failed.errors, "set or delete exactly this key") {
			t.Errorf("%s ends with %d and %s", line, failed.code, failed.errors)
		}
	}
	skipping := c.at(c.store + "?invalid=skip")
	for _, line := range []string{"info", "list a/*", "copy --to sqlite:" + filepath.Join(t.TempDir(), "new.db") + " --from " + skipping.store} {
		done := skipping.run(strings.Fields(line)...)
		if done.code != exitOK || !strings.Contains(done.errors, `2 keys skipped: ["a/bad" "a/none"]`) {
			t.Errorf("%s ends with %d and %s", line, done.code, done.errors)
		}
	}
	c.run("set", "a/bad", `{"mended":true}`).ok()
	c.run("del", "a/none").ok()
	c.run("check").ok().contains("2 objects, no problems")
	c.run("get", "a/bad").ok().contains(`{"mended":true}`)
}
