package command

import (
	"encoding/json"
	"testing"
)

func TestInfo(t *testing.T) {
	c := newCLI(t)
	c.days()
	c.run("set", "days", "1").ok()
	c.run("set", "days/a/below", "12").ok()
	c.run("del", "days/a/below").ok()
	c.run("del", "days").ok()
	c.run("info").ok().contains(
		"store            "+c.store+"\n",
		"objects          4\n",
		"directories      2\n",
		"newest revision  8\n", // that of the last delete
		"oldest object    2026-01-01T00:00:00.000000000Z\n",
		"newest object    2026-01-04T00:00:00.000000000Z\n",
		"data             27 B\n",
		"on disk          ",
		"  days           3 objects in 1 directory\n  other          1 object in 1 directory\n")
	var info storeInfo
	if err := json.Unmarshal([]byte(c.run("info", "--json").ok().out), &info); err != nil {
		t.Fatal(err)
	}
	if info.Objects != 4 || info.Revision != 8 || len(info.Top) != 2 || info.Top[0].Objects != 3 || info.DiskBytes <= 0 || info.Store != c.store {
		t.Errorf("info as JSON: %+v", info)
	}
}

func TestInfoOfAnEmptyStore(t *testing.T) {
	c := newCLI(t)
	c.run("set", "a", "1").ok()
	c.run("del", "a").ok()
	c.run("info", "--json").ok().contains(`"objects":0,"directories":0,"top":[],"revision":2,"oldest":0,"newest":0,"data_bytes":0`)
	c.run("info").ok().contains("objects          0\n")
}
