package command

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/servertest"
)

// watching is a watch in a process of its own.
type watching struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Reader
	errs  *strings.Builder
	token string // the last one that was told
}

func startWatching(t *testing.T, program func(args ...string) *exec.Cmd, args ...string) *watching {
	t.Helper()
	w := &watching{t: t, cmd: program(append([]string{"watch", "--json"}, args...)...), errs: new(strings.Builder)}
	w.cmd.Stderr = w.errs
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.lines = bufio.NewReader(out)
	return w
}

// next is the next line.
func (w *watching) next() (line watched) {
	w.t.Helper()
	text, err := w.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, &line)
	}
	if err != nil {
		w.t.Fatalf("watch wrote %q, %v; %s", text, err, w.errs)
	}
	if line.Token != "" {
		w.token = line.Token
	}
	return line
}

// tells demands lines, each its kind and path.
func (w *watching) tells(want ...string) {
	w.t.Helper()
	for _, want := range want {
		line := w.next()
		if got := strings.TrimSpace(line.Kind + " " + line.Path + " " + line.Reason); got != want {
			w.t.Fatalf("watch tells %q, want %q", got, want)
		}
	}
}

func (w *watching) end() {
	w.t.Helper()
	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		w.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, w.lines)
	if code := exitStatus(w.t, w.cmd.Wait()); code != exitOK {
		w.t.Errorf("an interrupted watch: exit code %d, %s", code, w.errs)
	}
}

// A watch goes on over restarts and kills of its server: no change is lost or told twice.
func TestWatch(t *testing.T) {
	t.Parallel()
	oolith := processes(t, roleProgram)
	s := startServing(t, oolith)
	address := strings.TrimPrefix(s.URL, "http://")
	do := func(method, target, body string) {
		t.Helper()
		if status, text, _ := s.ask(method, target, body); status >= 300 {
			t.Fatalf("%s %s: %d %s", method, target, status, text)
		}
	}
	do("PUT", "/l/a", "1")
	w := startWatching(t, oolith, "l/*", "--store", s.URL)
	w.tells("state l/a", "live")
	do("PUT", "/l/b", "2")
	do("DELETE", "/l/a", "")
	w.tells("set l/b")
	if line := w.next(); line.Kind != "del" || line.Path != "l/a" || line.Token == "" {
		t.Errorf("a delete: %+v", line)
	}
	again := func() {
		t.Helper()
		s = startServing(t, func(args ...string) *exec.Cmd {
			return oolith(append(args, "--addr", address)...)
		})
	}
	for round := range 3 {
		if round == 1 {
			if code := s.end(syscall.SIGTERM); code != exitOK {
				t.Errorf("exit code %d", code)
			}
		} else {
			if err := s.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = s.cmd.Wait() // it was killed
		}
		// What is written while nothing serves is not in the history of the next server.
		for _, args := range [][]string{{"set", fmt.Sprintf("l/off%d", round), "1"}, {"del", "l/b"}, {"set", "l/b", fmt.Sprint(round)}} {
			if out, err := oolith(args...).CombinedOutput(); err != nil {
				t.Fatalf("%s", out)
			}
		}
		again()
		do("PUT", fmt.Sprintf("/l/on%d", round), "1")
		want := []string{"set l/b", fmt.Sprintf("set l/off%d", round), fmt.Sprintf("set l/on%d", round)}
		told := map[string]int{}
		for len(told) < len(want) {
			if line := w.next(); line.Kind != "live" {
				told[line.Kind+" "+line.Path]++
			}
		}
		for _, line := range want {
			if told[line] != 1 {
				t.Fatalf("round %d: told %v, want each of %q once", round, told, want)
			}
		}
	}
	// Nothing else comes in between.
	do("PUT", "/l/last", "1")
	for line := w.next(); line.Path != "l/last"; line = w.next() {
		if line.Kind != "live" {
			t.Errorf("it is told %s %s too", line.Kind, line.Path)
		}
	}
	token := w.token
	w.end()
	do("PUT", "/l/missed", "1")
	w = startWatching(t, oolith, "l/*", "--store", s.URL, "--from", token)
	w.tells("set l/missed", "live")
	w.end()
	w = startWatching(t, oolith, "l/on*", "--store", s.URL, "--from", "of no store")
	w.tells("reset", "state l/on2", "state l/on1", "state l/on0", "live")
	w.end()
	if code := s.end(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if out, err := oolith("watch", "a", "--store", s.URL).CombinedOutput(); exitStatus(t, err) != exitFailure || !strings.Contains(string(out), "no server answers at "+s.URL) {
		t.Errorf("a server that is not there: %s", out)
	}
	w = startWatching(t, oolith, "l/on*")
	w.tells("state l/on2", "state l/on1", "state l/on0", "live")
	w.end()
}

func TestWatchText(t *testing.T) {
	s := servertest.Start(t, server.Options{})
	c := newCLI(t)
	c.run("watch", "a//b", "--store", s.URL).is(exitUsage, "empty segment")
	if _, err := s.Store.Set("a", []byte(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	oolith := processes(t, roleProgram)
	cmd := oolith("watch", "*", "--store", s.URL)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	expect := func(want string) {
		t.Helper()
		if got, err := lines.ReadString('\n'); got != want+"\n" {
			t.Fatalf("a line: %q, %v, want %q", got, err, want)
		}
	}
	expect("state\ta\t{\"n\":1}")
	expect("live")
	if _, err := s.Store.Set("b", []byte("2")); err != nil {
		t.Fatal(err)
	}
	expect("set\tb\t2")
	s.CutConnections()
	if _, err := s.Store.Set("b", []byte("3")); err != nil {
		t.Fatal(err)
	}
	expect("set\tb\t3")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := exitStatus(t, cmd.Wait()); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
