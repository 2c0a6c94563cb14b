package command

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// readFormat returns the records of an input as "number data" or "number !reason".
func readFormat(input string, limit int, as format) (got []string, err error) {
	records, err := readRecords(strings.NewReader(input), limit, as)
	for err == nil {
		var rec record
		if rec, err = records.next(); err != nil {
			break
		}
		line := fmt.Sprintf("%d %s", rec.number, rec.data)
		if rec.refused != nil {
			line = fmt.Sprintf("%d !%v", rec.number, rec.refused)
		}
		got = append(got, line)
	}
	if err == io.EOF {
		err = nil
	}
	return got, err
}

func TestReadMember(t *testing.T) {
	for _, test := range []struct {
		name, at, input string
		want            []string
		err             string
	}{
		{"the only member", "items", `{"items":[1,{"a":2}]}`, []string{"1 1", `2 {"a":2}`}, ""},
		{"among others", "items", `{"n":{"items":[9]},"l":[[],{}],"items":[ 1 ],"more":{"x":[1]},"s":"items"} `, []string{"1 1"}, ""},
		{"deep", "data.items", "{\n\"data\":{\"x\":1,\n\"items\":[\n1,\n2]},\"y\":null}", []string{"1 1", "2 2"}, ""},
		{"empty", "items", `{"items":[]}`, nil, ""},
		{"absent", "items", `{"item":[1]}`, nil, `the input has no member "items"`},
		{"a value of that text", "items", `{"a":"items","b":[1]}`, nil, `the input has no member "items"`},
		{"absent below", "data.items", `{"data":{"x":1}}`, nil, `the input has no member "data.items"`},
		{"no array", "items", `{"items":{"a":1}}`, nil, `the member "items" is not an array`},
		{"no object", "items", `[1]`, nil, `the input is not an object`},
		{"no object below", "a.b", `{"a":1}`, nil, `the member "a" is not an object`},
		{"cut in the array", "items", `{"items":[1,`, []string{"1 1"}, "ends too early"},
		{"cut behind the array", "items", `{"items":[1],"x":`, []string{"1 1"}, "ends too early"},
		{"broken element", "items", `{"items":[1,oops]}`, []string{"1 1"}, "record 2: invalid JSON"},
		{"more behind", "items", `{"items":[1]} {}`, []string{"1 1"}, "more data follows the object that ends at byte 13"},
		{"a record over the limit", "items", `{"items":["` + strings.Repeat("x", 300) + `"]}`, nil, "larger than 100 B"},
		{"a long member is skipped", "items", `{"x":[` + strings.Repeat("1,", 500) + `1],"items":[1]}`, []string{"1 1"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := readFormat(test.input, 100, format{at: test.at})
			if !slices.Equal(got, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %q, %v, want %q, %q", got, err, test.want, test.err)
			}
		})
	}
}

func TestReadCSV(t *testing.T) {
	for _, test := range []struct {
		name, input string
		numbers     bool
		want        []string
		err         string
	}{
		{"rows", "a,b\n1,x\n2,\n", false, []string{`2 {"a":"1","b":"x"}`, `3 {"a":"2","b":""}`}, ""},
		{"numbers", "a,b,c,d,e\n1,-2.5e3,007,NaN,1 \n", true, []string{`2 {"a":1,"b":-2.5e3,"c":"007","d":"NaN","e":"1 "}`}, ""},
		{"quotes", "a,b\r\n\"x, \"\"y\"\"\",\"two\nlines\"\r\n<&>,z\r\n", false, []string{`2 {"a":"x, \"y\"","b":"two\nlines"}`, `4 {"a":"<&>","b":"z"}`}, ""},
		{"a byte order mark", "\xef\xbb\xbfa\n1\n", false, []string{`2 {"a":"1"}`}, ""},
		{"empty lines count", "a\n\n1\n", false, []string{`3 {"a":"1"}`}, ""},
		{"a header alone", "a,b\n", false, nil, ""},
		{"too few and too many", "a,b\n1\n1,2,3\n1,2\n", false,
			[]string{"2 !the row has 1 value, expected 2 as in the header row", "3 !the row has 3 values, expected 2 as in the header row", `4 {"a":"1","b":"2"}`}, ""},
		{"a bare quote", "a\nx\"y\n2\n", false, []string{"2 !invalid CSV, a quote at column 2 is not doubled or not closed", `3 {"a":"2"}`}, ""},
		{"no UTF-8", "a\n\xff\n2\n", false, []string{`2 !column "a" is not UTF-8`, `3 {"a":"2"}`}, ""},
		{"a quote that stays open", "a\n1\n\"x\ny\n", false, []string{`2 {"a":"1"}`}, "line 3: invalid CSV"},
		{"nothing", "", false, nil, "expected CSV with a header row"},
		{"no name", "a,,c\n", false, nil, "no name for column 2"},
		{"a name twice", "a,b,a\n", false, nil, `names "a" twice`},
		{"a long row", "a\n\"" + strings.Repeat("x", 300) + "\"\n", false, nil, "larger than 100 B"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := readFormat(test.input, 100, format{csv: true, numbers: test.numbers})
			if !slices.Equal(got, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %q, %v, want %q, %q", got, err, test.want, test.err)
			}
		})
	}
}

// Whatever bytes come, each record is valid JSON or refused, and the reading ends.
func FuzzReadForms(f *testing.F) {
	f.Add("a,b\n1,\"x\n", true)
	f.Add(`{"items":[1,{"a":[]}],"x":1}`, false)
	f.Fuzz(func(t *testing.T, input string, csv bool) {
		as := format{at: "items"}
		if csv {
			as = format{csv: true, numbers: true}
		}
		records, err := readRecords(strings.NewReader(input), 1000, as)
		for err == nil {
			var rec record
			rec, err = records.next()
			if err == nil && rec.refused == nil && checkJSON(rec.data) != nil {
				t.Fatalf("record %d of %q is no JSON: %q", rec.number, input, rec.data)
			}
		}
	})
}

func TestImportOfForms(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	csv := c.file("stations.CSV", "code,height\nA1,12\nB2,x\n")
	c.run("import", csv, "--as", "stations/{code}", "--numbers", "-q").ok()
	c.run("get", "stations/A1", "stations/B2").ok().prints(`{"code":"A1","height":12}` + "\n" + `{"code":"B2","height":"x"}` + "\n")
	c.input("id,v\n1,2\n", "import", "-", "--csv", "--as", "plain/{id}", "-q").ok()
	c.run("get", "plain/1").ok().prints(`{"id":"1","v":"2"}` + "\n")
	c.input(`{"data":{"items":[{"id":1},{"id":2}]}}`, "import", "-", "--at", "data.items", "--as", "items/{id}", "-q").ok()
	c.run("keys", "items/*").ok().prints("items/1\nitems/2\n")
	c.input(`{"id":1}{"id":2} {"id":3}`, "import", "-", "--as", "row/{id}", "-q").ok()
	c.run("keys", "row/*").ok().prints("row/1\nrow/2\nrow/3\n")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"import", csv}, "CSV needs --as"},
		{[]string{"import", "-", "--numbers"}, "--numbers is for CSV"},
		{[]string{"import", "-", "--csv", "--at", "x", "--as", "a/*"}, "exclude each other"},
		{[]string{"import", "-", "--at", "a..b"}, `--at "a..b": expected the name of a member`},
		{[]string{"import", "-", "--only", "a//b"}, `--only "a//b"`},
		{[]string{"import", "-", "--if-exists", "ask"}, "expected replace, skip or fail"},
		{[]string{"copy", "a", "b", "--if-exists", "skip"}, "--if-exists needs --into"},
	} {
		c.run(test.args...).is(exitUsage, test.want)
	}
}

func TestImportOnlyAndIfExists(t *testing.T) {
	t.Parallel()
	const lines = `{"id":1,"v":"new"}` + "\n" + `{"id":2,"v":"new"}` + "\n" + `{"id":3,"v":"new"}` + "\n"
	for _, test := range []struct {
		args      []string
		code      int
		err, last string
		want      string // the letters of 1, 2 and 3
	}{
		{nil, exitOK, "", `"stored":3`, "new new new"},
		{[]string{"--if-exists", "replace"}, exitOK, "", `"stored":3`, "new new new"},
		{[]string{"--if-exists", "skip"}, exitOK, "", `"skipped":1`, "new old new"},
		{[]string{"--if-exists", "fail"}, exitFailure, `line 2, \"rows/2\", the path already has an object`, "", "new old -"},
		{[]string{"--only", "rows/3"}, exitOK, "", `"left_out":2`, "- old new"},
		{[]string{"--only", "rows/*"}, exitOK, "", `"stored":3`, "new new new"},
		{[]string{"--only", "other/**"}, exitOK, "", `"left_out":3`, "- old -"},
	} {
		c := newCLI(t)
		c.run("set", "rows/2", `{"v":"old"}`).ok()
		r := c.input(lines, append([]string{"import", "-", "--as", "rows/{id}", "--json"}, test.args...)...)
		if r.code != test.code || !strings.Contains(r.errors, test.err) || !strings.Contains(r.out, test.last) {
			t.Errorf("import %v: exit code %d, %q, %q", test.args, r.code, r.out, r.errors)
		}
		var got []string
		for _, path := range []string{"rows/1", "rows/2", "rows/3"} {
			word := "-"
			for _, v := range []string{"new", "old"} {
				if strings.Contains(c.run("get", path).out, v) {
					word = v
				}
			}
			got = append(got, word)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("import %v leaves %v, want %s", test.args, got, test.want)
		}
	}
}

func TestCopyOnlyAndIfExists(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		code int
		err  string
		want string // what the target holds
	}{
		{[]string{"--into"}, exitOK, "", "a/1=src a/2=src b/1=src"},
		{[]string{"--into", "--if-exists", "skip"}, exitOK, "", "a/1=src a/2=old b/1=src"},
		{[]string{"--into", "--if-exists", "fail"}, exitFailure, `another object exists at "a/2"`, "a/2=old"},
		{[]string{"--into", "--if-exists", "fail", "--only", "b/*"}, exitOK, "", "a/2=old b/1=src"},
		{[]string{"--into", "--only", "a/*"}, exitOK, "", "a/1=src a/2=src"},
	} {
		c := newCLI(t)
		for _, path := range []string{"a/1", "a/2", "b/1"} {
			c.run("set", path, `"src"`).ok()
		}
		target := "pebble:" + filepath.Join(t.TempDir(), "target")
		c.run("set", "a/2", `"old"`, "--store", target).ok()
		for range 2 { // a merge that ran can run again
			c.run(append([]string{"copy", c.store, target, "-q"}, test.args...)...).is(test.code, test.err)
		}
		var got []string
		for path := range strings.Lines(c.run("keys", "--store", target).ok().out) {
			path = strings.TrimSpace(path)
			got = append(got, path+"="+strings.Trim(c.run("get", path, "--store", target).ok().out, "\"\n"))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("copy %v leaves %v, want %s", test.args, got, test.want)
		}
	}
	c := newCLI(t)
	c.days()
	target := "sqlite:" + filepath.Join(t.TempDir(), "target.db")
	c.run("copy", c.store, target, "--only", "days/*", "-q").ok()
	c.run("keys", "--store", target).ok().prints("days/a\ndays/b\ndays/c\n")
}

// The path of a store tells its engine, wherever a URL is taken.
func TestBarePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := newCLI(t)
	for _, scheme := range []string{"pebble", "sqlite", "badger", "ko"} {
		place := filepath.Join(dir, scheme+" 100%?")
		c.run("set", "a/b", `"`+scheme+`"`, "--store", scheme+":"+strings.NewReplacer("%", "%25", "?", "%3F").Replace(place)).ok()
		c.run("get", "a/b", "--store", place).ok().prints(`"` + scheme + `"` + "\n")
		c.run("set", "a/c", "1", "--store", place).ok()
		c.run("info", place).ok().contains("objects          2\n")
		c.run("check", place).ok()
		c.run("copy", place, "pebble:"+filepath.Join(dir, "of "+scheme), "-q").ok()
		c.run("copy", "pebble:"+filepath.Join(dir, "of "+scheme), place, "--into", "-q").ok()
	}
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{dir, filepath.Join(dir, "text")} {
		c.run("keys", "--store", place).is(exitUsage, "no engine recognizes the files, expected one of pebble:")
	}
	c.run("keys", "--store", filepath.Join(dir, "none")).is(exitFailure, "there is no store yet")
	c.run("set", "a", "1", "--store", filepath.Join(dir, "none")).is(exitUsage, "a new store needs the name of its engine")
	if _, err := os.Stat(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("something was made at a path without an engine: %v", err)
	}
}

func TestJSONErrors(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.run("set", "a", "1").ok()
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"get", "none", "--json"}, exitNotFound, `{"error":"get \"none\": not found","code":4}`},
		{[]string{"--json", "get", "a/*"}, exitUsage, `"code":2}`},
		{[]string{"nope", "--json"}, exitUsage, `"code":2}`},
		{[]string{"get", "--nope", "--json"}, exitUsage, `{"error":"unknown flag --nope; see \"oolith get --help\"","code":2}`},
	} {
		r := c.run(test.args...)
		if r.code != test.code || strings.Count(r.errors, "\n") != 1 || !strings.HasPrefix(r.errors, `{"error":"`) || !strings.Contains(r.errors, test.want) {
			t.Errorf("oolith %v: exit code %d, %s, want %d, %s", test.args, r.code, r.errors, test.code, test.want)
		}
	}
	r := c.input("{}\noops\n", "import", "-", "--as", "x/*", "--json")
	for line := range strings.Lines(r.errors) {
		if !strings.HasPrefix(line, `{"error":"standard input: `) || !strings.HasSuffix(line, `,"code":3}`+"\n") {
			t.Errorf("import --json tells %q", line)
		}
	}
}

func TestColour(t *testing.T) {
	on := terminal{is: true, colour: true, width: 80}
	for text, want := range map[string]string{
		`{"a":"b"}`:   "{\x1b[34m\"a\"\x1b[0m:\x1b[32m\"b\"\x1b[0m}",
		`[1,null]`:    "[\x1b[33m1\x1b[0m,\x1b[33mnull\x1b[0m]",
		`"\"q\\" 1`:   "\x1b[32m\"\\\"q\\\\\"\x1b[0m \x1b[33m1\x1b[0m",
		`{"a":"cut…`:  "{\x1b[34m\"a\"\x1b[0m:\x1b[32m\"cut…\x1b[0m",
		`{"a" : true`: "{\x1b[34m\"a\"\x1b[0m : \x1b[33mtrue\x1b[0m",
		``:            "",
		`"\`:          "\x1b[32m\"\\\x1b[0m",
	} {
		if got := on.paint(text); got != want {
			t.Errorf("paint(%s) = %q, want %q", text, got, want)
		}
		if got := (terminal{is: true}).paint(text); got != text {
			t.Errorf("without colours paint(%s) = %q", text, got)
		}
	}
	variables := func(pairs ...string) func(string) string {
		return func(name string) string {
			if at := slices.Index(pairs, name); at >= 0 {
				return pairs[at+1]
			}
			return ""
		}
	}
	if !wantsColour(variables("WT_SESSION", "x")) || wantsColour(variables("WT_SESSION", "x", "NO_COLOR", "1")) || wantsColour(variables("WT_SESSION", "x", "TERM", "dumb")) {
		t.Error("NO_COLOR or TERM is not respected")
	}
	c := newCLI(t)
	c.run("set", "a", `{"n":[1]}`).ok()
	c.run("get", "a", "--pretty").ok().prints("{\n  \"n\": [\n    1\n  ]\n}\n")
	c.env.out = on
	c.run("get", "a").ok().prints("{\x1b[34m\"n\"\x1b[0m:[\x1b[33m1\x1b[0m]}\n")
	c.run("get", "a", "--pretty").ok().contains("{\n  \x1b[34m\"n\"\x1b[0m: [\n")
	c.run("list", "*").ok().contains("  {\x1b[34m\"n\"\x1b[0m:[\x1b[33m1\x1b[0m]}\n", "DATA\n")
	c.run("list", "*", "--json").ok().contains(`"data":{"n":[1]}`)
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	for _, path := range []string{"cities/AD/1", "cities/AD/2", "cities/AE/1", "config"} {
		c.run("set", path, "1").ok()
	}
	cities := c.file("cities.jsonl", `{"name":"Vila","country":"AD"}`)
	table := c.file("table.csv", "id,name\n1,x\n")
	for _, test := range []struct {
		args []string
		want string // the lines, joined by a blank
	}{
		{[]string{"get", ""}, "cities/ config"},
		{[]string{"get", "c"}, "cities/ config"},
		{[]string{"list", "cities/A"}, "cities/AD/ cities/AE/"},
		{[]string{"del", "cities/AD/"}, "cities/AD/1 cities/AD/2"},
		{[]string{"export", "cities/AD/2"}, "cities/AD/2"},
		{[]string{"get", "no//such"}, ""},
		{[]string{"get", "*"}, ""},
		{[]string{"keys", "--store", "p"}, "pebble:\tpebble:DIRECTORY"},
		{[]string{"copy", "sq"}, "sqlite:\tsqlite:FILE"},
		{[]string{"import", cities, "--as", "c/{"}, "c/{country} c/{name}"},
		{[]string{"import", cities, "--as", "c/{country}/{n"}, "c/{country}/{name}"},
		{[]string{"import", cities, "--as", "c/"}, ""},
		{[]string{"import", table, "--as", "{"}, "{id} {name}"},
		{[]string{"import", cities, "--if-exists", ""}, "replace skip fail"},
		{[]string{"help", "_"}, ""},
		{[]string{"help", "im"}, "import\tImport the records of a JSON or CSV file"},
	} {
		r := c.run(append([]string{"__complete"}, test.args...)...)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		got := strings.Join(lines[:len(lines)-1], " ") // the last line is a number for the shell
		if r.code != exitOK || got != test.want {
			t.Errorf("completion of %q: exit code %d, %q, want %q", test.args, r.code, got, test.want)
		}
	}
	if all := c.run("__complete", "help", "").out; strings.Contains(all, "__") {
		t.Errorf("help offers internals:\n%s", all)
	}
	c.store = "pebble:" + filepath.Join(t.TempDir(), "none")
	c.run("__complete", "get", "").contains(":4")
	if _, err := os.Stat(c.directory()); !os.IsNotExist(err) {
		t.Error("a completion makes a store")
	}
}
