package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func TestExport(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	random := testrand.New(t)
	var lines []byte
	times := []int64{0, 1, -1, math.MinInt64, math.MaxInt64, 1700000000000000001}
	expiries := []int64{0, 0, math.MaxInt64, time.Now().Add(time.Hour).UnixNano()}
	for i := range 1000 {
		text := key.Escape(randomString(random))
		lines = appendObject(lines, meta.Object{
			Created: times[random.IntN(len(times))],
			Updated: times[random.IntN(len(times))],
			Expires: expiries[random.IntN(len(expiries))],
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

// TestExpired shows that no command shows what has expired, and that none stores it.
func TestExpired(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.days()
	c.putExpired("days/past")
	for _, args := range [][]string{{"export"}, {"export", "days/*"}, {"keys"}, {"keys", "days/*"}, {"list", "days/*"}} {
		if out := c.run(args...).ok().out; strings.Contains(out, "past") {
			t.Errorf("oolith %v shows what has expired: %s", args, out)
		}
	}
	c.run("info").ok().contains("objects          4\n")
	c.run("get", "days/past").is(exitNotFound, `"days/past"`)
	c.run("export", "days/past").is(exitNotFound, `"days/past"`)
	const old = `{"path":"x/%d","data":1,"created":1,"expires":%d}` + "\n"
	in := fmt.Sprintf(old, 1, 5) + fmt.Sprintf(old, 2, math.MaxInt64) + fmt.Sprintf(old, 3, time.Now().UnixNano())
	c.input(in, "import", "-").ok().contains("stored 1 record in ", ", refused 0, skipped 2 that have expired\n", " get x/2\n")
	c.input(in, "import", "-", "--json").ok().contains(`{"stored":1,"refused":0,"expired":2,`)
	c.run("keys", "x/*").ok().prints("x/2\n")
	c.run("export", "x/2").ok().contains(fmt.Sprintf(`,"expires":%d}`, math.MaxInt64))
	c.input(fmt.Sprintf(old, 4, -1), "import", "-").refuses(exitRefused,
		`oolith: standard input: line 1, set "x/4", `+strings.TrimPrefix(storage.ErrInvalidTTL.Error(), "storage: ")+", Expires is -1, expected Unix nanoseconds or 0",
		"oolith: standard input: 1 record refused, 0 stored")
}

// TestExportToAFile shows that a file is replaced as a whole.
func TestExportToAFile(t *testing.T) {
	t.Parallel()
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
	c.run("export", "--out", filepath.Dir(file)).is(exitFailure, "not written, it exists and is not a regular file")
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
	t.Parallel()
	c := newCLI(t)
	c.days()
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "out.jsonl")
	c.run("export", "--out", file).is(exitInterrupted, file+": not written, interrupted after 0 objects")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
	c.run("export").is(exitInterrupted, "interrupted after 0 objects")
}
