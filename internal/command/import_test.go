package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

const excerpt = "../../examples/cities.jsonl"

// objects returns what is in the store, as export writes it.
func (c *cli) objects() []meta.Object {
	c.t.Helper()
	var objects []meta.Object
	for line := range strings.Lines(c.run("export").ok().out) {
		var obj meta.Object
		if err := json.Unmarshal([]byte(line), &obj); err != nil {
			c.t.Fatalf("export wrote %q: %v", line, err)
		}
		objects = append(objects, obj)
	}
	return objects
}

// refuses demands an import that ends with a code, and the exact lines before the last on standard error.
func (r result) refuses(code int, lines ...string) {
	r.t.Helper()
	got := strings.Split(strings.TrimSuffix(r.plainErrors(), "\n"), "\n")
	slices.Sort(got) // the reader and the writer report as they meet it
	slices.Sort(lines)
	if r.code != code || !slices.Equal(got, lines) {
		r.t.Errorf("oolith %s: exit code %d, want %d; standard error\n%s\nwant\n%s", r.line, r.code, code,
			strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

func TestImportOfTheExcerpt(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.env.getenv = func(string) string { return "" } // so that examples must name the store
	source, err := os.ReadFile(excerpt)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(source), "\n"), "\n")
	if len(lines) < 2000 {
		t.Fatalf("the excerpt has %d places, want at least 2,000", len(lines))
	}
	r := c.run("import", excerpt, "--as", "cities/{country}/*", "--store", c.store).ok().contains(
		fmt.Sprintf("stored %s in ", plural(int64(len(lines)), "record")), " in "+c.store+", refused 0\n",
		"Try next:\n  oolith --store "+c.store+" list 'cities/*/*' --limit 5\n")
	c.env.getenv = func(string) string { return c.store }
	c.tryExamples(r.out)

	// The order of creation is that of the file, and each place is in its country.
	objects := c.objects()
	slices.SortFunc(objects, func(a, b meta.Object) int { return int(a.Created - b.Created) })
	for i, obj := range objects {
		var place struct{ Country string }
		if err := json.Unmarshal(obj.Data, &place); err != nil {
			t.Fatal(err)
		}
		if string(obj.Data) != lines[i] || key.Parent(obj.Path) != "cities/"+place.Country || obj.Updated != 0 {
			t.Fatalf("object %d is %s, want line %d of the file in its country", i, appendObject(nil, obj), i+1)
		}
	}
	newest := c.run("list", "cities/*/*", "--limit", "1", "--json").ok().out
	if !strings.Contains(newest, lines[len(lines)-1]) {
		t.Errorf("the newest is %s, want the last line of the file", newest)
	}
}

// tryExamples runs the commands that an import proposes.
func (c *cli) tryExamples(out string) {
	c.t.Helper()
	_, examples, found := strings.Cut(out, "Try next:\n")
	if !found {
		c.t.Errorf("no examples in %q", out)
	}
	for line := range strings.Lines(examples) {
		var args []string
		for word := range strings.FieldsSeq(line) {
			args = append(args, strings.Trim(word, "'"))
		}
		if r := c.run(args[1:]...).ok(); r.out == "" {
			c.t.Errorf("the example %q shows nothing", line)
		}
	}
}

func TestImportForms(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	for name, content := range map[string]string{
		"array.json":    `[{"id":"a"},{"id":"b"},{"id":"c"}]`,
		"lines.jsonl":   "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n",
		"packed.array":  gzipped(t, `[{"id":"a"},{"id":"b"},{"id":"c"}]`),
		"packed.lines":  gzipped(t, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}"),
		"windows.jsonl": "\xef\xbb\xbf{\"id\":\"a\"}\r\n{\"id\":\"b\"}\r\n\r\n{\"id\":\"c\"}\r\n",
	} {
		directory := key.Escape(name)
		c.run("import", c.file(name, content), "--as", directory+"/{id}").ok().contains("stored 3 records")
		c.input(content, "import", "-", "--as", "stdin/"+directory+"/{id}", "--quiet").ok().prints("")
		for _, prefix := range []string{"", "stdin/"} {
			c.run("get", prefix+directory+"/b").ok().prints(`{"id":"b"}` + "\n")
		}
	}
}

func TestImportOfNothing(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	for _, content := range []string{"", "\n\n", "[]", " [ ]\n", "\xef\xbb\xbf", gzipped(t, "")} {
		c.run("import", c.file("empty", content), "--as", "x/*").ok().contains("stored 0 records", "the input holds no records")
	}
	c.run("import", c.file("empty", ""), "--json").ok().contains(`{"stored":0,"refused":0,"seconds":`)
}

// TestImportRefusesRecords shows that one bad record costs itself only, and is told with
// its place and the reason.
func TestImportRefusesRecords(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	long := strings.Repeat("x", 1023)
	file := c.file("x.jsonl", strings.Join([]string{
		`{"id":"a"}`, `{"id":`, `{"name":"no id"}`, `{"id":null}`, `{"id":{"a":1}}`, `17`, `{"id":"` + long + `"}`, "\x01", `{"id":"z"}`,
	}, "\n"))
	c.run("import", file, "--as", "x/{id}", "--json").contains(`{"stored":2,"refused":7,`).refuses(exitRefused,
		"oolith: "+file+`: line 2, invalid JSON at column 6, the JSON is incomplete`,
		"oolith: "+file+`: line 3, field "id" is missing`,
		"oolith: "+file+`: line 4, field "id" is null, expected a string, a number or a boolean`,
		"oolith: "+file+`: line 5, field "id" is an object, expected a string, a number or a boolean`,
		"oolith: "+file+`: line 6, the record is a number, expected an object with the fields of "x/{id}"`,
		"oolith: "+file+`: line 7, the path is 1025 bytes long, expected at most 1024`,
		"oolith: "+file+`: line 8, invalid JSON at column 1, unexpected '\x01', expected a value`,
		"oolith: "+file+": 7 records refused, 2 stored")
	c.run("keys").ok().prints("x/a\nx/z\n")

	file = c.file("x.json", `[{"id":"b"},{"no":1},{"id":"c"}]`)
	c.run("import", file, "--as", "x/{id}").refuses(exitRefused,
		"oolith: "+file+`: record 2, field "id" is missing`,
		"oolith: "+file+": 1 record refused, 2 stored")
	c.run("keys").ok().prints("x/a\nx/b\nx/c\nx/z\n")
}

func TestImportRefusesExportedRecords(t *testing.T) {
	c := newCLI(t)
	c.input(strings.Join([]string{
		`{"path":"a","data":1}`, `{"data":1}`, `{"path":"b"}`, `{"path":"","data":1}`, `{"path":"x/*","data":1}`, `{"path":"x//y","data":1}`,
		`{"path":7,"data":1}`, `{"path":"c","created":"now","data":1}`, `[1]`, `{"path":"` + strings.Repeat("x", 1025) + `","data":1}`,
		`{"path":"n","data":null}`, `{"path":"u","data":1,"updated":7}`,
	}, "\n"), "import", "-").refuses(exitRefused,
		`oolith: standard input: line 2, the record has no "path"; --as builds paths from other fields`,
		`oolith: standard input: line 3, the record has no "data"`,
		`oolith: standard input: line 4, the record has no "path"; --as builds paths from other fields`,
		`oolith: standard input: line 5, path "x/*", a path cannot contain '*'`,
		`oolith: standard input: line 6, path "x//y", `+key.Check("x//y").Error(),
		`oolith: standard input: line 7, field "path" is a number, expected a string`,
		`oolith: standard input: line 8, field "created" is a string, expected a whole number`,
		`oolith: standard input: line 9, the record is an array, expected an object with path and data as export writes it; --as builds paths for other records`,
		`oolith: standard input: line 10, path "`+strings.Repeat("x", 80)+`"... (1025 bytes), `+key.Check(strings.Repeat("x", 1025)).Error(),
		`oolith: standard input: line 12, the record has "updated" without "created"`,
		`oolith: standard input: 10 records refused, 2 stored`)
	c.run("get", "n").ok().prints("null\n")
}

// TestImportStopsAtABrokenFile shows that what cannot be read on ends the import, and that
// what was before it is stored.
func TestImportStopsAtABrokenFile(t *testing.T) {
	t.Parallel()
	packed := gzipped(t, `[{"id":1},{"id":2},{"id":3}]`)
	for _, test := range []struct {
		name, content, want string
		stored              int
	}{
		{"cut array", `[{"id":1},{"id":2},{"id":`, "record 3, from byte 20, the input ends too early; 2 records stored, 0 refused", 2},
		{"invalid element", `[{"id":1},{"id":oops},{"id":3}]`, "record 2, invalid JSON at byte 17, unexpected 'o', expected a value; 1 record stored, 0 refused", 1},
		{"cut gzip", packed[:len(packed)-9], "gzip, the input ends too early; 3 records stored, 0 refused", 3},
		{"binary", "\x7fELF\x02\x01", "the input is binary (byte 0x02 at offset 4), expected a JSON array or JSON Lines, plain or gzip; 0 records stored", 0},
		{"UTF-16", "\xff\xfe{\x00", "UTF-16, expected UTF-8", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCLI(t)
			file := c.file("broken", test.content)
			c.run("import", file, "--as", "x/{id}").is(exitFailure, file+": ").is(exitFailure, test.want).prints("")
			if test.stored == 0 {
				return
			}
			if got := len(c.objects()); got != test.stored {
				t.Errorf("%d objects in the store, want %d", got, test.stored)
			}
		})
	}
}

func TestImportOfWrongFiles(t *testing.T) {
	c := newCLI(t)
	directory := t.TempDir()
	c.run("import", directory, "--as", "x/*").is(exitFailure, directory+": it is a directory, expected a file")
	c.run("import", directory+"/none", "--as", "x/*").is(exitFailure, directory+"/none: no such file or directory")
	c.run("import", excerpt, "--as", "cities/{country/*").is(exitUsage, `path template "cities/{country/*": segment "{country", the '{' has no '}'`)
	c.run("import", excerpt, "--as", "").is(exitUsage, `path template ""`)
	if _, err := os.Stat(c.directory()); !os.IsNotExist(err) {
		t.Errorf("a store was made: %v", err)
	}
}

// TestImportGivesUp shows that a file of the wrong kind does not write an error for each
// of its records.
func TestImportGivesUp(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	r := c.run("import", excerpt)
	if lines := strings.Count(r.errors, "\n"); r.code != exitFailure || lines != shownAtFirst+1 ||
		!strings.HasSuffix(r.errors, ": gave up because none of the first 100 records can be stored; the first 5 are shown; 0 records stored, 100 refused\n") {
		t.Errorf("exit code %d, %d lines: %s", r.code, lines, r.errors)
	}
	// What waited is told where a good record follows, and where the input ends.
	for _, end := range []string{"{}\n", ""} {
		r := c.input(strings.Repeat("oops\n", hopeless-1)+end, "import", "-", "--as", "x/*")
		if told := strings.Count(r.errors, ": line "); r.code != exitRefused || told != hopeless-1 {
			t.Errorf("%d bad records and %q: exit code %d, %d of them told", hopeless-1, end, r.code, told)
		}
	}
	bad := strings.Repeat("oops\n", 3*hopeless)
	if r := c.input("{}\n"+bad, "import", "-", "--as", "x/*"); r.code != exitRefused || strings.Count(r.errors, "\n") != 3*hopeless+1 {
		t.Errorf("one good record at the start: exit code %d, %d lines, want all to be read", r.code, strings.Count(r.errors, "\n"))
	}
}

// TestImportKeepsTheOrderOfAPath shows that the last record of a path is what stays.
func TestImportKeepsTheOrderOfAPath(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	var lines strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&lines, `{"id":%d,"n":%d}`+"\n", i%7, i)
	}
	c.input(lines.String(), "import", "-", "--as", "x/{id}").ok()
	for id := range 7 {
		want := 2000 - 2000%7 + id
		if want >= 2000 {
			want -= 7
		}
		c.run("get", fmt.Sprintf("x/%d", id)).ok().prints(fmt.Sprintf(`{"id":%d,"n":%d}`+"\n", id, want))
	}
}

// TestImportInterrupted stops an import that waits for more: what was read is stored.
func TestImportInterrupted(t *testing.T) {
	c := newCLI(t)
	pipe, feed := io.Pipe()
	c.stdin = pipe
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithCancel(c.ctx)
	go func() {
		_, _ = io.WriteString(feed, "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n{\"id\":")
		// The reader takes the next chunk when it is done with the one before.
		_, _ = io.WriteString(feed, "4")
		cancel()
	}()
	t.Cleanup(func() { _ = feed.Close() })
	r := c.run("import", "-", "--as", "x/{id}").is(exitInterrupted, "standard input: interrupted after line ")
	c.ctx = t.Context()
	if got := int64(len(c.objects())); !strings.Contains(r.errors, "; "+plural(got, "record")+" stored, 0 refused\n") {
		t.Errorf("%d objects in the store, and the import says %s", got, r.errors)
	}
}

// TestImportStoresAtOnce shows that a record is stored, and a refusal told, while the input
// waits for more: no batch waits to be full.
func TestImportStoresAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
		if err := store.Start(storage.Options{}); err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		template, err := parseTemplate("x/{id}")
		if err != nil {
			t.Fatal(err)
		}
		pipe, feed := io.Pipe()
		var told output
		im := &importer{app: &app{stderr: &told}, make: fromTemplate(template), store: store}
		if im.in, err = openInput(t.Context(), "-", pipe); err != nil {
			t.Fatal(err)
		}
		im.report = startProgress(&told, terminal{}, true, work{}, im.state)
		ended := make(chan error)
		go func() {
			if im.records, err = readRecords(im.in, maxRecord, format{}); err == nil {
				err = im.all(t.Context())
			}
			ended <- err
		}()
		for i := range 3 {
			if _, err := fmt.Fprintf(feed, "{\"id\":%d}\noops\n", i); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if _, err := store.Get(fmt.Sprintf("x/%d", i)); err != nil {
				t.Errorf("record %d, though it was read: %v", i, err)
			}
			if want := fmt.Sprintf("oolith: standard input: line %d, invalid JSON", 2*i+2); !strings.Contains(told.String(), want) {
				t.Errorf("standard error is %q, want %q", told.String(), want)
			}
		}
		if err := feed.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := im.in.Close(); err != nil {
			t.Error(err)
		}
	})
}

// importInto imports ten thousand records into a store whose layer answers for "x/ID" of
// some of them with an error.
func importInto(t *testing.T, fails func(id int) error) (*importer, string, error) {
	t.Helper()
	layer := &wrong{BatchLayer: storagetest.NewBatchLayer(&storagetest.Disk{}, "d")}
	layer.commit = func(changes []storage.Change) error {
		for i, c := range changes {
			id, err := strconv.Atoi(key.LastIndex(c.Key))
			if err == nil {
				err = fails(id)
			}
			if entry, ok := errors.AsType[*storage.EntryError](err); ok {
				return &storage.EntryError{Index: i, Err: entry.Err}
			}
			if err != nil {
				return err
			}
		}
		return layer.BatchLayer.Commit(changes)
	}
	store := storage.New(storage.LayeredConfig{Embedded: layer})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	var lines strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&lines, `{"id":%d}`+"\n", i)
	}
	template, err := parseTemplate("x/{id}")
	if err != nil {
		t.Fatal(err)
	}
	var told output
	im := &importer{app: &app{stderr: &told, storeURL: "test:"}, make: fromTemplate(template), store: store}
	if im.in, err = openInput(t.Context(), "-", strings.NewReader(lines.String())); err != nil {
		t.Fatal(err)
	}
	if im.records, err = readRecords(im.in, maxRecord, format{}); err != nil {
		t.Fatal(err)
	}
	im.report = startProgress(&told, terminal{}, true, work{size: -1}, im.state)
	err = im.all(t.Context())
	im.report.stop()
	if err := im.in.Close(); err != nil {
		t.Fatal(err)
	}
	keys, keysErr := store.Keys()
	if keysErr != nil || int64(len(keys)) != im.stored.Load() {
		t.Errorf("%d objects in the store, %v, and the import says %d", len(keys), keysErr, im.stored.Load())
	}
	return im, told.String(), err
}

func TestImportIntoAFailingStore(t *testing.T) {
	full := errors.New("no space left on device")
	im, _, err := importInto(t, func(id int) error {
		if id == 5000 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
	checkError(t, err, "store test:: line ")
	if im.stored.Load() > 5000 || im.refused.Load() != 0 {
		t.Errorf("%d stored, %d refused: the import went on after the store failed", im.stored.Load(), im.refused.Load())
	}
}

// TestImportIntoARefusingStore shows that what an engine refuses is told with its line, and costs
// itself only; and that an import ends which nothing comes of any more.
func TestImportIntoARefusingStore(t *testing.T) {
	large := &storage.EntryError{Err: errors.New("too large")}
	im, told, err := importInto(t, func(id int) error {
		if id == 3 || id == 5000 {
			return large
		}
		return nil
	})
	if err != nil || im.stored.Load() != 9998 || im.refused.Load() != 2 {
		t.Errorf("error %v, %d stored, %d refused, want 9998 and 2", err, im.stored.Load(), im.refused.Load())
	}
	for _, want := range []string{`line 4, set "x/3", `, `line 5001, set "x/5000", `, "too large\n"} {
		if !strings.Contains(told, want) {
			t.Errorf("standard error is %q, want %q", told, want)
		}
	}
	im, told, err = importInto(t, func(id int) error {
		if id >= 200 {
			return large
		}
		return nil
	})
	checkError(t, err, "store test:: gave up after 100 refused records in a row")
	if im.stored.Load() != 200 || im.refused.Load() != hopeless || strings.Count(told, "\n") != hopeless {
		t.Errorf("%d stored, %d refused, want 200 and %d", im.stored.Load(), im.refused.Load(), hopeless)
	}
}

// TestImportFindsAFreeIndex shows that a generated path never overwrites an object that
// was made while the clock was ahead.
func TestImportFindsAFreeIndex(t *testing.T) {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	j := job{data: json.RawMessage(`"new"`)}
	j.generate("x/*")
	taken := j.path
	if _, err := store.Set(taken, json.RawMessage(`"old"`)); err != nil {
		t.Fatal(err)
	}
	c := &committer{store: store, done: func(_ job, err error) {
		if err != nil {
			t.Error(err)
		}
	}}
	c.commit([]job{j})
	if obj, err := store.Get(taken); err != nil || string(obj.Data) != `"old"` {
		t.Errorf("the object at the taken path is %s, %v, want the old one", obj.Data, err)
	}
	if all, err := store.GetList("x/*"); err != nil || len(all) != 2 {
		t.Errorf("%d objects, %v, want 2", len(all), err)
	}
}

func TestShellQuote(t *testing.T) {
	for argument, want := range map[string]string{
		"": "''", "a/b_c-1.2": "a/b_c-1.2", "pebble:./x": "pebble:./x", "a/*": "'a/*'", "it's": `'it'\''s'`, "São": "'São'",
	} {
		if got := shellQuote(argument); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", argument, got, want)
		}
	}
}

// TestImportOfAllPlaces imports the whole data set, where it is there.
func TestImportOfAllPlaces(t *testing.T) {
	t.Parallel()
	if raceDetector {
		t.Skip("the excerpt is enough for the race detector")
	}
	file := filepath.FromSlash("../../../shared/data/geonames-cities.json.gz")
	if _, err := os.Stat(file); err != nil {
		t.Skipf("the full data set is not here: %v", err)
	}
	c := newCLI(t)
	start := time.Now()
	c.run("import", file, "--as", "cities/{country}/*", "--quiet").ok() // a slow machine would tell its progress
	t.Logf("import: %v", time.Since(start))
	start = time.Now()
	if lines := strings.Count(c.run("list", "cities/*/*", "--limit", "5").ok().out, "\n"); lines != 5 {
		t.Errorf("list shows %d places, want 5", lines)
	}
	t.Logf("list: %v", time.Since(start))
	start = time.Now()
	out := filepath.Join(t.TempDir(), "all.jsonl")
	c.run("export", "--out", out).ok().contains("exported 171,075 objects")
	t.Logf("export: %v", time.Since(start))
}
