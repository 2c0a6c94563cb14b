package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

func TestExport(t *testing.T) {
	c := newCLI(t)
	c.days()
	c.run("set", "days/b/below", "1").ok()
	count := func(want int, args ...string) {
		t.Helper()
		if got := strings.Count(c.run(append([]string{"export"}, args...)...).ok().out, "\n"); got != want {
			t.Errorf("export %v wrote %d objects, want %d", args, got, want)
		}
	}
	count(5)
	count(3, "days/*")
	count(2, "*/*/*")
	count(0, "none/*")
	count(1, "days/a")
	c.run("export", "days/a").ok().contains(`{"created":1767225600000000000,"updated":0,"index":"a","path":"days/a","data":{"n":1},"revision":`)
	c.run("export", "days/z").is(exitNotFound, `"days/z"`)
	c.run("export", "days//*").is(exitUsage, `pattern "days//*"`)
}

// TestExportImportIdentity fills a store with random objects, and takes them to a second
// store and from there to a third: all objects are the same, times and bytes included.
func TestExportImportIdentity(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var lines []byte
	times := []int64{0, 1, -1, math.MinInt64, math.MaxInt64, 1700000000000000001}
	for i := range 1000 {
		text := escapeSegment(randomString(random))
		lines = appendObject(lines, meta.Object{
			Created: times[random.IntN(len(times))],
			Updated: times[random.IntN(len(times))],
			Path:    fmt.Sprintf("d%d/%s/%d", random.IntN(5), text, i),
			Data:    []byte(fmt.Sprintf(`{ "t" : %q, "n" : 1.50, "e" : "<&>\u00e9" }`, text)),
		})
	}
	first := newCLI(t)
	first.input(string(lines), "import", "-").ok().contains("stored 1,000 records")
	want := first.objects()
	if len(want) != 1000 {
		t.Fatalf("%d objects in the first store, want 1000", len(want))
	}
	from := first
	for range 2 {
		file := filepath.Join(t.TempDir(), "all.jsonl")
		from.run("export", "--out", file).ok().prints("exported 1,000 objects to " + file + "\n")
		to := newCLI(t)
		to.run("import", file).ok()
		got := to.objects()
		for i := range got {
			got[i].Revision = want[i].Revision // given anew
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal("the second store holds other objects than the first")
		}
		from = to
	}
}

// TestExportOverItself shows that a file is replaced as a whole.
func TestExportToAFile(t *testing.T) {
	c := newCLI(t)
	c.days()
	file := filepath.Join(t.TempDir(), "out.jsonl")
	if err := os.WriteFile(file, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	c.run("export", "days/*", "--out", file, "--json").ok().prints(`{"exported":3}` + "\n")
	content, err := os.ReadFile(file)
	if err != nil || string(content) != c.run("export", "days/*").ok().out {
		t.Errorf("the file holds %q, %v", content, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("the file's mode is %v, %v, want that of the old one", info.Mode(), err)
	}
	onlyFile(t, file)
	c.run("export", "--out", filepath.Dir(file)).is(exitFailure, "not written: it is there and no regular file")
	c.run("export", "--out", filepath.Join(file, "x")).is(exitFailure, "not a directory")
}

// onlyFile demands that nothing else was left beside a file.
func onlyFile(t *testing.T, file string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v, want the file alone", entries, err)
	}
}

// TestExportThatFailsLeavesTheOldFile shows that a file is whole or untouched.
func TestExportThatFailsLeavesTheOldFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.jsonl")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the store broke")
	err := writeFile(file, func(w io.Writer) error {
		if _, err := io.WriteString(w, strings.Repeat("x", 10*readAhead)); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "old" {
		t.Errorf("the file holds %.20q, %v, want what was there", content, err)
	}
	onlyFile(t, file)
}

func TestExportInterrupted(t *testing.T) {
	c := newCLI(t)
	c.days()
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "out.jsonl")
	c.run("export", "--out", file).is(exitInterrupted, file+": not written: interrupted after 0 objects")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
	c.run("export").is(exitInterrupted, "interrupted after 0 objects")
}
