package command

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestProgram(t *testing.T) {
	t.Parallel()
	oolith := processes(t, roleProgram)
	run := func(wantCode int, args ...string) string {
		t.Helper()
		out, err := oolith(args...).CombinedOutput()
		if code := exitStatus(t, err); code != wantCode {
			t.Errorf("oolith %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, wantCode, out)
		}
		return string(out)
	}
	run(exitFailure, "keys")
	run(exitUsage, "nope")
	run(exitUsage, "set", "a", "blue")
	run(exitOK, "set", "a", "1")
	if out := run(exitOK, "get", "a"); out != "1\n" {
		t.Errorf("get after set in another process: %q, want 1", out)
	}
	run(exitNotFound, "get", "b")
	excerptFile, err := filepath.Abs(excerpt)
	if err != nil {
		t.Fatal(err)
	}
	if out := run(exitOK, "import", excerptFile, "--as", "cities/{country}/*"); !strings.Contains(out, "in pebble:./oolith-data, refused 0") {
		t.Errorf("import into the default store: %s", out)
	}

	t.Run("a full disk under the output", func(t *testing.T) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skipf("no /dev/full: %v", err)
		}
		defer func() { _ = full.Close() }()
		var errs bytes.Buffer
		cmd := oolith("export")
		cmd.Stdout, cmd.Stderr = full, &errs
		if code := exitStatus(t, cmd.Run()); code != exitFailure || !strings.Contains(errs.String(), "no space left on device") {
			t.Errorf("exit code %d, %q", code, errs.String())
		}
	})
	t.Run("a reader that leaves", func(t *testing.T) {
		var errs bytes.Buffer
		cmd := oolith("export")
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReaderSize(out, 64).ReadSlice('"')
		if err != nil || string(line) != `{"` {
			t.Errorf("first bytes %q, %v", line, err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE || errs.Len() > 0 {
			t.Errorf("ended with %v, %q, want SIGPIPE and no word", err, errs.String())
		}
	})
	t.Run("a second process", func(t *testing.T) {
		holder := oolith("import", "-", "--as", "x/{id}", "--quiet")
		feed, errLines := startWaiting(t, holder)
		out := run(exitFailure, "keys")
		if !strings.Contains(out, "in use by another process") || strings.Count(out, "\n") != 1 {
			t.Errorf("a store in use: %s", out)
		}
		if err := feed.Close(); err != nil {
			t.Error(err)
		}
		rest, _ := io.ReadAll(errLines)
		if code := exitStatus(t, holder.Wait()); code != exitRefused {
			t.Errorf("the holder's exit code is %d: %s", code, rest)
		}
	})
}

// startWaiting starts an import of standard input, feeds it ten good records, a bad one and
// a part of one, and returns when the bad one is told: at once, though more input is to come. The
// import then has the store, and waits.
func startWaiting(t *testing.T, cmd *exec.Cmd) (io.WriteCloser, *bufio.Reader) {
	t.Helper()
	feed, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := fmt.Fprintf(feed, `{"id":%d}`+"\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(feed, "bad\n{\"id\":"); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(errs)
	line, err := reader.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "oolith: standard input: line 11, invalid JSON") {
		t.Fatalf("standard error: %q, %v", line, err)
	}
	return feed, reader
}

// TestSignals shows that Ctrl-C and SIGTERM stop an import at a whole record, with all
// that was read in the store.
func TestSignals(t *testing.T) {
	t.Parallel()
	oolith := processes(t, roleProgram)
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			store := "pebble:" + t.TempDir() + "/store"
			cmd := oolith("import", "-", "--as", "x/{id}", "--store", store)
			feed, errs := startWaiting(t, cmd)
			defer func() { _ = feed.Close() }()
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			line, err := errs.ReadString('\n')
			if want := "oolith: standard input: interrupted after line 11; 10 records stored, 1 refused\n"; err != nil || line != want {
				t.Errorf("standard error: %q, %v, want %q", line, err, want)
			}
			if code := exitStatus(t, cmd.Wait()); code != exitInterrupted {
				t.Errorf("exit code %d, want %d", code, exitInterrupted)
			}
			out, err := oolith("keys", "--store", store).CombinedOutput()
			if err != nil || strings.Count(string(out), "\n") != 10 {
				t.Errorf("the store holds %q, %v, want ten objects", out, err)
			}
		})
	}
}

// TestKill shows that a second signal, or SIGKILL, leaves a store that opens, with whole
// records only.
func TestKill(t *testing.T) {
	t.Parallel()
	oolith := processes(t, roleProgram)
	cmd := oolith("import", "-", "--as", "x/*")
	feed, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(feed, `{"n":%d,"check":%[1]d}`+"\n", i); err != nil {
				return // it was killed
			}
			if i == 20_000 {
				_ = cmd.Process.Kill()
			}
		}
	}()
	<-done
	if err := cmd.Wait(); err == nil {
		t.Error("the killed import says that it succeeded")
	}
	out, err := oolith("export").Output()
	if err != nil {
		t.Fatalf("export after a kill: %v", err)
	}
	count := 0
	for line := range strings.Lines(string(out)) {
		var n, check int
		_, data, _ := strings.Cut(line, `"data":`)
		if _, err := fmt.Sscanf(data, `{"n":%d,"check":%d}`, &n, &check); err != nil || n != check {
			t.Fatalf("a record in part: %s", line)
		}
		count++
	}
	t.Logf("%d records after the kill", count)
	if count == 0 {
		t.Error("nothing is stored after 20,000 records were taken")
	}
}
