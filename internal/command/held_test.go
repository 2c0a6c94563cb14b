package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oolith-db/oolith/engine"
)

// Whoever finds a store in use that is served is told where, on every engine; a note that was left behind misleads nobody.
func TestServedStore(t *testing.T) {
	t.Parallel()
	for _, form := range engine.Forms(engines...) {
		scheme, _, _ := strings.Cut(form, ":")
		if scheme == "memory" || strings.Contains(form, "http") {
			continue
		}
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			oolith := processes(t, roleProgram)
			store := "--store=" + scheme + ":./data"
			s := startServing(t, oolith, store)
			said := func(args ...string) string {
				t.Helper()
				out, err := oolith(append(args, store)...).CombinedOutput()
				if code := exitStatus(t, err); code != exitFailure || strings.Count(string(out), "\n") != 1 {
					t.Errorf("oolith %q: exit code %d, %s", args, code, out)
				}
				return string(out)
			}
			where := "its files are in use by a server; use --store " + s.URL + "\n"
			commands := [][]string{{"set", "a", "1"}, {"compact"}}
			if scheme != "sqlite" { // which others may read
				commands = append(commands, []string{"get", "a"}, []string{"keys"}, []string{"watch", "a"}, []string{"check"}, []string{"backup", "b"})
			}
			for _, args := range commands {
				if out := said(args...); !strings.Contains(out, where) {
					t.Errorf("oolith %q: %s, want %q", args, out, where)
				}
			}
			if out, err := oolith("copy", scheme+":./data", "pebble:./copy").CombinedOutput(); scheme != "sqlite" && (err == nil || !strings.Contains(string(out), where)) {
				t.Errorf("copy from it: %s", out)
			}
			if out, err := oolith("set", "a", "1", "--store", s.URL).CombinedOutput(); err != nil {
				t.Errorf("what it says to do: %s", out)
			}
			// Another process holds the lock behind a server that was killed.
			if err := s.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = s.cmd.Wait() // it was killed
			name := filepath.Join(s.cmd.Dir, "data"+servedSuffix)
			if _, err := os.Stat(name); err != nil {
				t.Errorf("a server that is killed leaves its note: %v", err)
			}
			holder := oolith("import", "-", "--as", "x/{id}", "--quiet", store)
			feed, errLines := startWaiting(t, holder)
			if out := said("set", "b", "1"); strings.Contains(out, "served") || !strings.Contains(out, "in use by another process") {
				t.Errorf("a note that was left behind: %s", out)
			}
			// The process may live, and be another one: nothing answers there.
			left, err := json.Marshal(note{s.URL, os.Getpid()})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, left, 0o600); err != nil {
				t.Fatal(err)
			}
			if out := said("set", "b", "1"); strings.Contains(out, "served") {
				t.Errorf("a note of a process that serves nothing: %s", out)
			}
			if err := feed.Close(); err != nil {
				t.Error(err)
			}
			_, _ = errLines.WriteTo(nowhere{})
			_ = holder.Wait() // a record of it was bad
			s = startServing(t, oolith, store)
			if code := s.end(syscall.SIGTERM); code != exitOK {
				t.Errorf("exit code %d, %s", code, s.errors)
			}
			if _, err := os.Stat(name); err == nil {
				t.Error("a server that ended leaves a note")
			}
			if out, err := oolith("get", "a", store).CombinedOutput(); err != nil || string(out) != "1\n" {
				t.Errorf("behind it: %s, %v", out, err)
			}
		})
	}
}

// Where the note cannot be written, the store is served without it.
func TestServedWithoutNote(t *testing.T) {
	t.Parallel()
	oolith := processes(t, roleProgram)
	if err := os.Mkdir(filepath.Join(oolith().Dir, "oolith-data"+servedSuffix), 0o700); err != nil {
		t.Fatal(err)
	}
	s := startServing(t, oolith)
	if out, err := oolith("keys").CombinedOutput(); exitStatus(t, err) != exitFailure || !strings.Contains(string(out), "in use by another process") {
		t.Errorf("a store that is served: %s", out)
	}
	if code := s.end(syscall.SIGTERM); code != exitOK || !strings.Contains(s.errors.String(), "cannot find the server of this store") {
		t.Errorf("exit code %d, %s", code, s.errors)
	}
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
