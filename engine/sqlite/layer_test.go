package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

// start returns a started layer on a file, closed at the end of the test.
func start(t testing.TB, file string, options Options) *Layer {
	t.Helper()
	return enginetest.Start(t, New(file, options))
}

func TestLayer(t *testing.T) {
	enginetest.TestLayer(t, enginetest.Engine{
		New:    func(t testing.TB) enginetest.Layer { return New(in(t.TempDir()), Options{longLog: shortLog}) },
		In:     func(dir string, maxData int) enginetest.Layer { return New(in(dir), Options{MaxData: maxData}) },
		Scans:  func(l enginetest.Layer) int { return l.(*Layer).life.Holding() },
		Rounds: 20,
	})
}

// odd are JSON values, or what passes for them, that must come back byte for byte.
var odd = map[string]string{
	"spaces":          " {\"b\" : [1, 2.50,1e400 ],\n\t\"a\":1,\"a\":2}\r\n",
	"escapes":         `"\u0000\u00e9\ud83d\ude00\/\""`,
	"beyond ASCII":    "\"é<>&\u2028\U0001F600\"",
	"invalid UTF-8":   "\"\xff\xfe\xc3\x28\xed\xa0\x80\"",
	"delete and more": "\"\x7f\u0080\"",
	"a byte order":    "\"\ufeff\"",
	"a large number":  "123456789012345678901234567890.000",
	"a number":        "7",
	"minus zero":      "-0",
	"null":            "null",
}

func TestDataByteForByte(t *testing.T) {
	file := in(t.TempDir())
	l := start(t, file, Options{})
	for name, data := range odd {
		if !json.Valid([]byte(data)) {
			t.Fatalf("%s: no JSON", name)
		}
		path := "odd/" + strings.ReplaceAll(name, " ", "-")
		if err := l.Set(path, enginetest.Object(path, 1, data)); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	l = start(t, file, Options{})
	for name, data := range odd {
		got, err := l.Get("odd/" + strings.ReplaceAll(name, " ", "-"))
		if err != nil || string(got.Data) != data {
			t.Errorf("%s is %q, %v, expected %q", name, got.Data, err, data)
		}
	}
	if got := query(t, file, `SELECT count(*) FROM objects WHERE typeof(data) <> 'text'`); got != "0" {
		t.Errorf("%s values are no text", got)
	}
}

// The last revision is the highest, also beyond what a signed number holds and when a lower one comes
// behind it.
func TestLastRevision(t *testing.T) {
	file := in(t.TempDir())
	l := start(t, file, Options{})
	expect := func(want uint64) {
		t.Helper()
		if got, err := l.LastRevision(); err != nil || got != want {
			t.Errorf("the last revision is %d, %v, expected %d", got, err, want)
		}
	}
	for _, c := range []storage.Change{
		{Key: "a", Object: enginetest.Object("a", 1, "1"), Revision: 3},
		{Clear: true, Revision: 1<<63 - 1},
		{Key: "b", Object: enginetest.Object("b", 1, "1"), Revision: 1<<63 + 5},
	} {
		if err := l.Commit([]storage.Change{c}); err != nil {
			t.Fatal(err)
		}
		expect(c.Revision)
	}
	lower := storage.Change{Key: "c", Object: enginetest.Object("c", 1, "1"), Revision: 7}
	if err := errors.Join(l.Commit([]storage.Change{lower}), l.Set("d", enginetest.Object("d", 1, "1"))); err != nil {
		t.Error(err)
	}
	l.Clear()
	expect(1<<63 + 5)
	l.Close()
	l = start(t, file, Options{})
	expect(1<<63 + 5)
}

// A large value leaves no memory behind: its connections are replaced.
func TestLargeData(t *testing.T) {
	file := in(t.TempDir())
	l := start(t, file, Options{})
	enginetest.Set(t, l, "small")
	data := `"` + strings.Repeat("x", heavyData) + `"`
	before := opened(l).writer
	if err := l.Set("large", enginetest.Object("large", 1, data)); err != nil {
		t.Fatal(err)
	}
	if opened(l).writer == before {
		t.Error("the connection that wrote it is kept")
	}
	for range 2 * readers() {
		if got, err := l.Get("large"); err != nil || string(got.Data) != data {
			t.Fatalf("got %d bytes, %v", len(got.Data), err)
		}
	}
	if n := len(opened(l).readers.idle); n != 0 {
		t.Errorf("%d connections that read it are kept", n)
	}
	enginetest.Set(t, l, "small")
	if _, err := l.Get("small"); err != nil || len(opened(l).readers.idle) != 1 {
		t.Errorf("a connection that reads a small one is not kept, %v", err)
	}
	if list, err := l.GetList("*"); err != nil || len(list) != 2 {
		t.Errorf("the list has %d objects, %v", len(list), err)
	}
	l.Close()
	l = start(t, file, Options{})
	if n := enginetest.CheckSound(t, l); n != 2 {
		t.Errorf("the check counts %d objects, expected 2", n)
	}
}

// SQLite that gives up in the middle of something is an error, and its connection is not used
// again.
func TestPanicsOfSQLite(t *testing.T) {
	l := start(t, in(t.TempDir()), Options{})
	enginetest.Set(t, l, "a")
	err := opened(l).readers.read(func(*conn) error { panic("wasm: unreachable") })
	if err == nil || !strings.Contains(err.Error(), "wasm: unreachable") ||
		strings.Contains(l.life.Wrap("read", err).Error(), "corrupt") || strings.Contains(explain(err).Error(), "corrupt") {
		t.Errorf("the panic is the error %v", err)
	}
	if n := len(opened(l).readers.idle); n != 0 {
		t.Errorf("%d connections are kept", n)
	}
	// A row that needs more than there is.
	small := openSmall(t, l)
	s, err := small.prepare(`SELECT zeroblob(100 << 20)`)
	if err == nil {
		err = small.readBlob(s)
	}
	if err == nil || !strings.Contains(err.Error(), "MiB of memory") || !isNoMemory(err) || !small.broken {
		t.Errorf("100 MiB in too little memory: %v", err)
	}
	if _, err := l.Get("a"); err != nil {
		t.Errorf("a read after it: %v", err)
	}
}

// openSmall opens a connection with little memory.
func openSmall(t *testing.T, l *Layer) *conn {
	t.Helper()
	c, err := openConn(opened(l).path, toRead, l.options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.close() })
	c.db.HardHeapLimit(32 << 20)
	return c
}

func (c *conn) readBlob(s *sqlite3.Stmt) (err error) {
	defer c.guard(&err)
	if s.Step() {
		s.ColumnRawBlob(0)
	}
	return finish(s, nil)
}

// The log does not grow without bound, nor is it moved again and again while a scan holds it.
func TestLogIsBounded(t *testing.T) {
	l := start(t, in(t.TempDir()), Options{longLog: shortLog})
	longest := 0
	write := func(n int) {
		t.Helper()
		for i := range n {
			if err := l.Set("a", enginetest.Object("a", 1, fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			longest = max(longest, opened(l).logPages)
		}
	}
	write(1000)
	if longest > shortLog+10 {
		t.Errorf("the log grew to %d pages, expected about %d", longest, shortLog)
	}
	for range l.Scan("") {
		write(1000)
	}
	if longest < 1000 {
		t.Errorf("while a scan lasts the log grew to %d pages: nothing is tested", longest)
	}
	write(shortLog + 1)
	longest = 0
	write(1000)
	if longest > shortLog+10 {
		t.Errorf("after the scan the log grew to %d pages, expected about %d", longest, shortLog)
	}
}

func TestCompactShortensTheFile(t *testing.T) {
	file := in(t.TempDir())
	l := start(t, file, Options{})
	for i := range 500 {
		path := fmt.Sprint("d/", i)
		if err := l.Set(path, enginetest.Object(path, 1, fmt.Sprintf("%q", strings.Repeat("x", 3000)))); err != nil {
			t.Fatal(err)
		}
	}
	l.Clear()
	enginetest.Set(t, l, "a")
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	// While a scan lasts it cannot.
	for range l.Scan("") {
		if err := l.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := size(); n > 100<<10 {
		t.Errorf("the file has %d bytes", n)
	}
	if info, err := os.Stat(file + "-wal"); err != nil || info.Size() != 0 {
		t.Errorf("the log has %d bytes, %v", info.Size(), err)
	}
	if n := enginetest.CheckSound(t, l); n != 1 {
		t.Errorf("the check counts %d objects, expected 1", n)
	}
}

func TestCloseInterruptsLongCalls(t *testing.T) {
	file := in(t.TempDir())
	l := start(t, file, Options{})
	for name, call := range map[string]func() error{
		"Check":   func() error { _, err := l.Check(t.Context(), func(error) {}); return err },
		"Compact": func() error { return l.Compact(t.Context()) },
	} {
		// What Close begins with.
		closing, end := context.WithCancel(t.Context())
		end()
		opened(l).closing = closing
		if err := call(); !errors.Is(err, storage.ErrNotActive) {
			t.Errorf("%s of a layer that is about to close: %v, expected ErrNotActive", name, err)
		}
	}
}

// opened is the open database of a layer.
func opened(l *Layer) *database {
	d, err := l.life.Enter()
	if err != nil {
		panic(err)
	}
	l.life.Leave()
	return d
}
