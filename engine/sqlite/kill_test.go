package sqlite

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
)

// A process is killed while it writes, moves the log and compacts, time after time on one file.
// What it said was written is there, whole, each time. OOLITH_TEST_KILLS sets how often; 10 times
// if not.

const (
	killFile    = "OOLITH_TEST_KILL_FILE"
	killFrom    = "OOLITH_TEST_KILL_FROM"
	killRounds  = "OOLITH_TEST_KILLS"
	killWriters = 4
	killKeys    = 7 // of each writer
)

// killStep is what a writer does in its n-th step.
func killStep(writer, n int) (path, data string, deletes bool) {
	path = fmt.Sprintf("writer/%d/key-%d", writer, n*5%killKeys)
	data = fmt.Sprintf(`{"writer":%d,"step":%d,"text":%q}`, writer, n, strings.Repeat("x", n*37%3000))
	return path, data, n%4 == 3
}

// afterStep is what there is of a writer after its n-th step; n may be -1.
func afterStep(writer, n int) map[string]string {
	content := map[string]string{}
	for i := max(0, n-4*killKeys); i <= n; i++ {
		path, data, deletes := killStep(writer, i)
		if deletes {
			delete(content, path)
		} else {
			content[path] = data
		}
	}
	return content
}

func TestKill(t *testing.T) {
	if file := os.Getenv(killFile); file != "" {
		writeUntilKilled(t, file, os.Getenv(killFrom))
		return
	}
	rng := testrand.New(t)
	rounds := 10
	if text := os.Getenv(killRounds); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	file := in(t.TempDir())
	last := []int{-1, -1, -1, -1} // the last step of each writer that is in the store
	for round := range rounds {
		acked := runAndKill(t, file, last, 1+rng.IntN(250))
		l := start(t, file, Options{})
		for writer := range last {
			last[writer] = checkWriter(t, l, writer, max(acked[writer], last[writer]))
		}
		if n := len(enginetest.Keys(t, l)); enginetest.CheckSound(t, l) != n {
			t.Errorf("of %d objects not all are whole", n)
		}
		l.Close()
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("%v steps", last)
}

// runAndKill starts a process that writes from the steps behind the last ones on, kills it after so
// many lines of it, and returns the last step that each writer said was done.
func runAndKill(t *testing.T, file string, last []int, lines int) (acked []int) {
	t.Helper()
	process := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	process.Env = append(os.Environ(), killFile+"="+file, killFrom+"="+strings.Trim(fmt.Sprint(last), "[]"))
	var failure strings.Builder
	process.Stderr = &failure
	out, err := process.StdoutPipe()
	if err := errors.Join(err, process.Start()); err != nil {
		t.Fatal(err)
	}
	acked = []int{-1, -1, -1, -1}
	reader := bufio.NewReader(out)
	for n := 0; ; n++ {
		line, err := reader.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break // a line that was cut off is no word
		}
		var writer, step int
		if _, err := fmt.Sscanf(line, "%d %d\n", &writer, &step); err != nil {
			t.Fatalf("the process says %q, %s", line, failure.String())
		}
		acked[writer] = step
		if n == lines {
			if err := process.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := process.Wait(); err == nil || process.ProcessState.Exited() {
		t.Fatalf("the process ended by itself: %v, %s", err, failure.String())
	}
	return acked
}

// checkWriter checks that a writer's objects are those after its last acknowledged step, or after
// the one that was under way, and returns that step.
func checkWriter(t *testing.T, l *Layer, writer, acked int) int {
	t.Helper()
	list, err := l.GetList(fmt.Sprintf("writer/%d/*", writer))
	if err != nil {
		t.Fatal(err)
	}
	matches := func(want map[string]string) bool {
		for _, obj := range list {
			if want[obj.Path] != string(obj.Data) {
				return false
			}
		}
		return len(list) == len(want)
	}
	switch {
	case matches(afterStep(writer, acked+1)):
		return acked + 1
	case matches(afterStep(writer, acked)):
		return acked
	}
	t.Errorf("writer %d, after step %d: there are %d objects: %.300v, expected\n%.300v", writer, acked, len(list), list, afterStep(writer, acked))
	return acked
}

// writeUntilKilled is the process. It has a store with memory, and says each step after the store
// did.
func writeUntilKilled(t *testing.T, file, from string) {
	l := New(file, Options{longLog: shortLog})
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: l})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for writer, text := range strings.Fields(from) {
		last, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			for n := last + 1; ; n++ {
				path, data, deletes := killStep(writer, n)
				var err error
				if deletes {
					err = store.Del(path)
				} else {
					_, err = store.Set(path, []byte(data))
				}
				if err != nil && !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("step %d of writer %d: %v", n, writer, err)
					return
				}
				fmt.Fprintf(os.Stdout, "%d %d\n", writer, n)
			}
		})
	}
	group.Go(func() {
		for {
			if err := l.Compact(t.Context()); err != nil {
				t.Errorf("compact: %v", err)
				return
			}
		}
	})
	group.Wait()
}
