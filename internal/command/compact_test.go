package command

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/storagetest"
)

func TestCompact(t *testing.T) {
	t.Parallel()
	for _, scheme := range durableSchemes() {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			c := newCLI(t).at(fresh(t, scheme))
			for round := range 2 {
				var lines strings.Builder
				for i := range 500 {
					fmt.Fprintf(&lines, `{"id":%d,"text":"%s"}`+"\n", i, randomTextFrom(uint64(round*1000+i), 2000))
				}
				c.input(lines.String(), "import", "-", "--as", "x/{id}", "--quiet").ok()
			}
			c.run("del", "x/1*", "--yes").ok()
			before := c.objects()
			// An engine may leave a file that it needs no more to the next start, and may
			// write all anew at each compaction: the smaller of two sizes counts.
			var first, second compactSummary
			for _, summary := range []*compactSummary{&first, &second} {
				if err := json.Unmarshal([]byte(c.run("compact", "--json").ok().out), summary); err != nil {
					t.Fatal(err)
				}
			}
			after := min(first.After, second.After)
			if data := c.info().DataBytes; first.Store != c.store || after >= first.Before || after < data/2 {
				t.Errorf("the summaries are %+v and %+v, want less than before, of %d bytes of data", first, second, data)
			}
			if got := c.objects(); !reflect.DeepEqual(got, before) {
				t.Error("the objects are not the same after it")
			}
			c.run("compact").ok().contains(c.store+": ", " on disk before, ", " after, compacted in ")
			var cancel context.CancelFunc
			c.ctx, cancel = context.WithCancel(t.Context())
			cancel()
			c.run("compact").is(exitInterrupted, "store "+c.store+": compact, interrupted").prints("")
		})
	}
}

func TestCompactOfALayerThatCannot(t *testing.T) {
	err := (&app{storeURL: "test:"}).compact(t.Context(), storagetest.NewPlainLayer(&storagetest.Disk{}, "d"))
	checkError(t, err, "its engine cannot be compacted, there is nothing to do")
}

// TestSizeOnDisk adds up directories, and files with those that an engine keeps beside them.
func TestSizeOnDisk(t *testing.T) {
	directory := t.TempDir()
	for name, size := range map[string]int{"db": 100, "db-wal": 20, "dbx": 7, "other": 3, "sub/db": 1000, "sub/db-wal": 500} {
		name = filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int64{"": 1630, "db": 120, "other": 3, "sub": 1500, "sub/db": 1500} {
		if got, err := sizeOnDisk(filepath.Join(directory, name)); err != nil || got != want {
			t.Errorf("the size of %q is %d, %v, want %d", name, got, err, want)
		}
	}
	if _, err := sizeOnDisk(filepath.Join(directory, "absent")); !os.IsNotExist(err) {
		t.Errorf("the size of what is not there: %v", err)
	}
}
