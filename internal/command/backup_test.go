package command

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// TestBackupAndRestore takes a store of each engine through a file into a store of each, and through a pipe.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	for _, scheme := range durableSchemes() {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			c := newCLI(t).at(fresh(t, scheme))
			c.days()
			c.run("set", "days/gone", "1").ok()
			c.run("del", "days/gone").ok()
			file := filepath.Join(t.TempDir(), "days.oolith")
			c.run("backup", file).ok().contains("backed up 4 objects of "+c.store+" at revision ", " to "+file)
			onlyFile(t, file)
			c.run("verify", file).ok().contains(file+", intact", "objects      4\n", "revision     ")
			want, wantRevision := c.objects(), c.info().Revision

			for _, to := range durableSchemes() {
				target := newCLI(t).at(fresh(t, to))
				target.run("restore", file).ok().contains("restored 4 objects of revision ", " to "+target.store+" in ")
				if got := target.objects(); !reflect.DeepEqual(got, want) {
					t.Errorf("to %s: %+v, want %+v", to, got, want)
				}
				if got := target.info().Revision; got < wantRevision {
					t.Errorf("to %s: the newest revision is %d, want %d", to, got, wantRevision)
				}
			}

			pipe := newCLI(t)
			content := c.run("backup", "-").ok().out
			pipe.input(content, "restore", "-", "--quiet").ok().prints("")
			if got := pipe.objects(); !reflect.DeepEqual(got, want) {
				t.Errorf("through a pipe: %+v, want %+v", got, want)
			}
			pipe.input(content, "verify", "-").ok().contains("standard input, intact")
		})
	}
}

func TestBackupSummaries(t *testing.T) {
	c := newCLI(t)
	c.days()
	file := filepath.Join(t.TempDir(), "days.oolith")
	var written, verified, restored backupSummary
	for _, step := range []struct {
		args    []string
		summary *backupSummary
	}{
		{[]string{"backup", file, "--only", "days/*"}, &written},
		{[]string{"verify", file}, &verified},
		{[]string{"restore", file, "--store", "pebble:" + filepath.Join(t.TempDir(), "new")}, &restored},
	} {
		if err := json.Unmarshal([]byte(c.run(append(step.args, "--json")...).ok().out), step.summary); err != nil {
			t.Fatal(err)
		}
		step.summary.Seconds = 0
	}
	if written.Objects != 3 || written.Pattern != "days/*" || written.Revision != 4 || len(written.SHA256) != 64 || written.FileBytes == 0 {
		t.Errorf("the summary is %+v", written)
	}
	if verified != written || restored != written {
		t.Errorf("verified %+v and restored %+v, want %+v", verified, restored, written)
	}
	c.run("verify", file).ok().contains("only         days/*\n")
	c.run("backup", file, "--quiet").ok().prints("")
	c.run("verify", file, "--quiet").ok().prints("")
}

// TestRestoreIntoAStoreInUse shows what --replace does, and that nothing happens without it.
func TestRestoreIntoAStoreInUse(t *testing.T) {
	c := newCLI(t)
	c.days()
	file := filepath.Join(t.TempDir(), "days.oolith")
	c.run("backup", file).ok()
	c.run("set", "days/z", `"new"`).ok()
	before := c.objects()
	c.run("restore", file).is(exitFailure, `it holds objects such as "days/a"; --replace deletes its content`).prints("")
	if got := c.objects(); !reflect.DeepEqual(got, before) {
		t.Errorf("a restore that is refused left %+v", got)
	}
	c.run("restore", file, "--replace").ok().contains("restored 4 objects")
	c.run("get", "days/z").is(exitNotFound, `get "days/z"`)
	c.run("set", "days/z", "1").ok()
	if got := c.info().Revision; got <= before[len(before)-1].Revision {
		t.Errorf("the next revision is %d, want one that was never used", got)
	}
}

// TestBackupsThatAreNone shows what is refused, with which exit code, and that no store is made for it.
func TestBackupsThatAreNone(t *testing.T) {
	c := newCLI(t)
	c.days()
	file := filepath.Join(t.TempDir(), "days.oolith")
	c.run("backup", file).ok()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(content)
	damaged[len(damaged)/2] ^= 1
	newer := bytes.Clone(content)
	newer[8]++
	target := "pebble:" + filepath.Join(t.TempDir(), "target")
	for _, test := range []struct {
		name, content, text string
		code                int
	}{
		{"damaged", string(damaged), "the file is damaged", exitDamaged},
		{"cut", string(content[:len(content)-9]), "the file is cut off", exitDamaged},
		{"text", "hello", "this is not a backup of a store", exitDamaged},
		{"empty", "", "this is not a backup of a store", exitDamaged},
		{"newer", string(newer), "use a newer build", exitFailure},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := c.file(test.name, test.content)
			c.run("verify", name).is(test.code, test.text).prints("")
			c.run("restore", name, "--store", target).is(test.code, test.text).prints("")
			c.input(test.content, "restore", "-", "--store", target).is(test.code, "standard input: ").prints("")
			if _, err := os.Stat(location(target)); !os.IsNotExist(err) {
				t.Errorf("something is at the place of the store: %v", err)
			}
		})
	}
	c.run("verify", filepath.Join(t.TempDir(), "none")).is(exitFailure, "no such file")
	c.run("verify", t.TempDir()).is(exitFailure, "is a directory, expected a file")
	c.run("restore", t.TempDir()).is(exitFailure, "is a directory, expected a file")
}

func TestBackupCommandLine(t *testing.T) {
	c := newCLI(t)
	file := filepath.Join(t.TempDir(), "x.oolith")
	c.run("backup", file).is(exitFailure, "there is no store yet")
	c.run("backup", file, "--store", "memory:").is(exitUsage, "it is not durable")
	c.run("backup", file, "--only", "a//b").is(exitUsage, `--only "a//b": empty segment`)
	c.run("backup").is(exitUsage, "0 arguments given, expected oolith backup FILE|-")
	c.run("verify").is(exitUsage, "0 arguments given")
	c.days()
	c.run("restore", file, "--store", "memory:").is(exitFailure, "no such file")
	c.run("backup", filepath.Dir(file)).is(exitFailure, "not written, it exists and is not a regular file")
	c.run("backup", filepath.Join(t.TempDir(), "none", "x")).is(exitFailure, "not written, ")
	c.run("backup", file).ok()
	c.run("restore", file, "--store", "memory:").is(exitUsage, "it is not durable")
	c.env.out = terminal{is: true, width: 80}
	c.run("backup", "-").is(exitUsage, "standard output is a terminal")
	c.run("verify", file).ok().contains("intact")
}

// TestInterruptedBackup shows that Ctrl-C leaves the file that was there, and a store that says what it is.
func TestInterruptedBackup(t *testing.T) {
	c := newCLI(t)
	c.days()
	file := c.file("days.oolith", "old")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	c.ctx = canceled
	c.run("backup", file).is(exitInterrupted, file+": not written, interrupted after 0 objects")
	if content, err := os.ReadFile(file); err != nil || string(content) != "old" {
		t.Errorf("the file holds %q, %v, want what was there", content, err)
	}
	onlyFile(t, file)
	c.ctx = t.Context()
	c.run("backup", file).ok()

	target := newCLI(t)
	target.ctx = canceled
	target.run("verify", file).is(exitInterrupted, "interrupted after 0 objects")
	target.run("restore", file).is(exitInterrupted, target.store+" is unchanged")
	if _, err := os.Stat(target.directory()); !os.IsNotExist(err) {
		t.Errorf("something is at the place of the store: %v", err)
	}

	// Cut off in the middle: the store is marked, and the next restore begins anew.
	layer, err := new(app).durableLayer(target.store, creates)
	if err != nil {
		t.Fatal(err)
	}
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	marker, ok := storage.As[storage.IncompleteMarker](layer)
	if !ok {
		t.Fatalf("%T cannot be marked", layer)
	}
	if err := marker.MarkIncomplete("restore of a backup of revision 4"); err != nil {
		t.Fatal(err)
	}
	layer.Close()
	target.ctx = t.Context()
	target.run("keys").is(exitFailure, "restore of a backup of revision 4")
	target.run("restore", file).ok().contains("restored 4 objects")
	target.run("keys").ok().contains("days/a")
}

func TestBackupToAPipeThatBreaks(t *testing.T) {
	c := newCLI(t)
	var lines strings.Builder
	for i := range 200 {
		lines.WriteString(`{"text":"` + randomTextFrom(uint64(i), 2000) + `"}` + "\n")
	}
	c.input(lines.String(), "import", "-", "--as", "x/*", "--quiet").ok()
	var errs bytes.Buffer
	code := run(t.Context(), []string{"backup", "-"}, c.stdin, brokenWriter{}, &errs, c.env)
	if code != exitFailure || !strings.Contains(errs.String(), "the connection is closed") {
		t.Errorf("exit code %d, %q, want %d and the error of the output", code, errs.String(), exitFailure)
	}
}
