package sqlite

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

// query is what another program gets: rows in lines, columns with bars between them.
func query(t testing.TB, file, sql string) string {
	t.Helper()
	c, err := sqlite3.OpenFlags(file, sqlite3.OPEN_READONLY)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := c.Prepare(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var lines []string
	for s.Step() {
		var line []string
		for i := range s.ColumnCount() {
			line = append(line, s.ColumnText(i))
		}
		lines = append(lines, strings.Join(line, "|"))
	}
	if err := cmp.Or(s.Err(), s.Close(), c.Close()); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(lines, "\n")
}

// People query what a store wrote, with the JSON functions of SQLite, while it is open.
func TestQueries(t *testing.T) {
	file := in(t.TempDir())
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: New(file, Options{})})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for path, data := range map[string]string{
		"cities/pt/lisbon":   `{"name":"Lisbon","population":517802,"tags":["capital","coast"]}`,
		"cities/pt/porto":    `{"name":"Porto","population":249633,"tags":["coast"]}`,
		"cities/es/madrid":   `{"name":"Madrid","population":3255944,"tags":["capital"]}`,
		"cities/es/valencia": `{"name":"Valencia","population":814208,"tags":["coast"]}`,
		"settings":           `{"theme":"dark"}`,
	} {
		if _, err := store.Set(path, json.RawMessage(data)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ name, sql, want string }{
		{"one object", `SELECT data FROM objects WHERE path = 'settings'`, `{"theme":"dark"}`},
		{"a list", `SELECT "index" FROM objects WHERE directory = 'cities/pt' ORDER BY "index"`, "lisbon\nporto"},
		{"a value", `SELECT data ->> '$.name', data ->> '$.population' FROM objects
			WHERE directory GLOB 'cities/*' ORDER BY data ->> '$.population' DESC LIMIT 2`, "Madrid|3255944\nValencia|814208"},
		{"a sum for each directory", `SELECT directory, count(*), sum(data ->> '$.population') FROM objects
			WHERE directory GLOB 'cities/*' GROUP BY directory`, "cities/es|2|4070152\ncities/pt|2|767435"},
		{"elements of arrays", `SELECT objects.path FROM objects, json_each(data, '$.tags')
			WHERE value = 'capital' ORDER BY 1`, "cities/es/madrid\ncities/pt/lisbon"},
		{"times", `SELECT count(*) FROM objects
			WHERE datetime(created / 1000000000, 'unixepoch') BETWEEN datetime('now', '-1 hour') AND datetime('now', '+1 hour')`, "5"},
		{"what is the newest", `SELECT max(revision), (SELECT value FROM oolith WHERE name = 'revision') FROM objects`, "5|5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := query(t, file, c.sql); got != c.want {
				t.Errorf("%s is\n%s, expected\n%s", c.sql, got, c.want)
			}
		})
	}
	for sql, want := range map[string]string{
		`SELECT * FROM objects WHERE path = 'x'`:           "sqlite_autoindex_objects_1 (path=?)",
		`SELECT * FROM objects WHERE directory = 'x'`:      "objects_place (directory=?)",
		`SELECT * FROM objects WHERE directory GLOB 'x/*'`: "objects_place (directory>? AND directory<?)",
		scanObjects:  "objects_place ((directory,index)>(?,?))",
		checkObjects: "sqlite_autoindex_objects_1 (path>?)",
		listPaths:    "COVERING INDEX sqlite_autoindex_objects_1 (path>?)",
	} {
		plan := query(t, file, "EXPLAIN QUERY PLAN "+sql)
		if !strings.Contains(plan, want) || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s is answered by %s, expected %s", sql, plan, want)
		}
	}
}

// People edit while the store is closed.
func TestEditsByHand(t *testing.T) {
	file := in(t.TempDir())
	l := start(t, file, Options{})
	enginetest.Set(t, l, "users/1", "users/2", "users/3", "users/4")
	if err := l.Set("users/5", enginetest.Object("users/5", 5, `{"name":"old","n":1}`)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	execute(t, file,
		`UPDATE objects SET data = json_set(data, '$.name', 'new') WHERE path = 'users/5'`,
		`INSERT INTO objects (path, data) VALUES ('users/9', '{}')`,
		`INSERT INTO objects (path, data) VALUES ('users/1', '1') ON CONFLICT DO UPDATE SET data = excluded.data`,
		`UPDATE objects SET path = 'people/2' WHERE path = 'users/2'`,
		`DELETE FROM objects WHERE directory = 'users' AND "index" = '3'`,
	)
	l = start(t, file, Options{})
	if n := enginetest.CheckSound(t, l); n != 5 {
		t.Errorf("the check counts %d objects, expected 5", n)
	}
	for path, want := range map[string]string{
		"users/5": `{"name":"new","n":1}`, "users/9": `{}`, "users/1": `1`, "people/2": `"users/2"`, "users/4": `"users/4"`,
	} {
		if got, err := l.Get(path); err != nil || string(got.Data) != want {
			t.Errorf("%s is %s, %v, expected %s", path, got.Data, err, want)
		}
	}
	if got, err := l.Get("users/9"); err != nil || got.Created < 1e18 || got.Updated != 0 || got.Revision != 0 || got.Index != "9" {
		t.Errorf("an object without times is %+v, %v", got, err)
	}
	if list, err := l.GetList("people/*"); err != nil || len(list) != 1 || list[0].Path != "people/2" {
		t.Errorf("a moved object is listed as %v, %v", list, err)
	}
	// What is written again has a checksum again.
	enginetest.Set(t, l, "users/5")
	if got := query(t, file, `SELECT group_concat(path ORDER BY path) FROM objects WHERE checksum IS NULL`); got != "people/2,users/1,users/9" {
		t.Errorf("without checksum are %s", got)
	}
}

func TestEditsThatAreWrong(t *testing.T) {
	for _, c := range []struct{ name, sql, path, text string }{
		{"no JSON", `UPDATE objects SET data = '{"a":' WHERE path = 'users/1'`, "users/1", errNotJSON.Error()},
		{"empty", `UPDATE objects SET data = '' WHERE path = 'users/1'`, "users/1", errNoData.Error()},
		{"invalid path", `INSERT INTO objects (path, data) VALUES ('users//1', '1')`, "users//1", "invalid path"},
		{"a glob", `INSERT INTO objects (path, data) VALUES ('users/*', '1')`, "users/*", "invalid path"},
		{"an empty path", `INSERT INTO objects (path, data) VALUES ('', '1')`, "", "invalid path"},
		{"a letter beyond ASCII", `INSERT INTO objects (path, data) VALUES ('users/é', '1')`, "users/é", "invalid path"},
		{"a checksum that is wrong", `UPDATE objects SET data = '7', checksum = 1 WHERE path = 'users/1'`, "users/1", errChecksum.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := in(t.TempDir())
			l := start(t, file, Options{})
			enginetest.Set(t, l, "users/1", "users/2")
			l.Close()
			execute(t, file, c.sql)
			l = start(t, file, Options{})
			_, err := l.Load()
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("key %q", c.path)) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("load: %v, expected the key and %q", err, c.text)
			}
			checkFinds(t, l, fmt.Sprintf("key %q", c.path))
		})
	}
	t.Run("refused by the table", func(t *testing.T) {
		file := in(t.TempDir())
		start(t, file, Options{}).Close()
		c, err := sqlite3.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for sql, want := range map[string]string{
			`INSERT INTO objects (path, data) VALUES ('a', x'31')`:                 "data is JSON text",
			`INSERT INTO objects (path, data) VALUES ('a', jsonb('{}'))`:           "data is JSON text",
			`INSERT INTO objects (path, data, created) VALUES ('a', '1', 'today')`: "created is in Unix nanoseconds",
			`INSERT INTO objects (path, data, expires) VALUES ('a', '1', 1.5)`:     "expires is in Unix nanoseconds",
			`INSERT INTO objects (path) VALUES ('a')`:                              "NOT NULL constraint failed: objects.data",
			`INSERT INTO objects (path, data, directory) VALUES ('a/b', '1', 'x')`: "generated column",
		} {
			if err := c.Exec(sql); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, expected %q", sql, err, want)
			}
		}
	})
}

// checkFinds checks that a check reports each of the texts, and returns how many objects it counts.
func checkFinds(t testing.TB, l *Layer, texts ...string) int {
	t.Helper()
	var found []string
	n, err := l.Check(t.Context(), func(err error) { found = append(found, err.Error()) })
	if err != nil {
		t.Errorf("check: %v", err)
	}
	for _, text := range texts {
		if !strings.Contains(strings.Join(found, "\n"), text) {
			t.Errorf("the check finds %q, expected %q", found, text)
		}
	}
	return n
}
