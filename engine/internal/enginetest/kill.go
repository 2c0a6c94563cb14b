package enginetest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

const (
	killVariable = "OOLITH_TEST_KILL"        // the task, for the process that is killed
	killRounds   = "OOLITH_TEST_KILL_ROUNDS" // how often each kind of store is killed
	killWriters  = 4
)

// TestKill kills a process that writes to a store and compacts it, again and again, and checks what is left: everything
// acknowledged, and the write in progress of each writer completely or not at all. No revision comes twice. The
// function of each kind of store makes a layer, not started, in a directory. The test has the name TestKill: it runs
// itself as the process.
func TestKill(t *testing.T, kinds map[string]func(dir string) Layer) {
	if text := os.Getenv(killVariable); text != "" {
		var task killTask
		if err := json.Unmarshal([]byte(text), &task); err != nil {
			t.Fatal(err)
		}
		t.Fatal(task.write(kinds[task.Kind](task.Dir)))
	}
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv(killRounds), strconv.Itoa(12/len(kinds))))
	if err != nil {
		t.Fatal(err)
	}
	for kind, layer := range kinds {
		t.Run(kind, func(t *testing.T) {
			rng := testrand.New(t)
			dir := t.TempDir()
			left := killLeft{content: map[string]string{}}
			for round := range rounds {
				task := killTask{kind, dir, rng.Uint64()}
				task.run(t, rng, &left)
				task.check(t, layer(dir), &left)
				if t.Failed() {
					t.Fatalf("round %d", round)
				}
			}
			t.Logf("%d acknowledged writes in %d rounds", left.writes, rounds)
		})
	}
}

// killTask is the task of a process: the writes of each writer follow from the seed.
type killTask struct {
	Kind, Dir string
	Seed      uint64
}

// killLeft is what the processes have left.
type killLeft struct {
	content  map[string]string
	acked    [killWriters]int // writes of the last process
	writes   int              // of all
	revision uint64           // the highest acknowledged one
}

// killStep is one write of a writer: data at some paths, the delete of a path or a pattern if there is no data, or a
// compaction if there are no paths.
type killStep struct {
	paths []string
	data  string
}

// steps returns the writes of a writer, one after the other. Each writer has its own directories.
func (k killTask) steps(writer int) func() killStep {
	rng := rand.New(rand.NewPCG(k.Seed, uint64(writer)))
	return func() killStep {
		dir := fmt.Sprintf("w%d/%d/", writer, rng.IntN(3))
		paths := []string{dir + strconv.Itoa(rng.IntN(20))}
		size := rng.IntN(300)
		switch n := rng.IntN(40); {
		case n == 0:
			return killStep{paths: []string{dir + "*"}}
		case n == 1: // more than one transaction of Badger can hold
			paths = nil
			for i := range 2500 {
				paths = append(paths, fmt.Sprintf("%sb%d", dir, i))
			}
		case n < 4:
			size += rng.IntN(100_000)
		case n < 8:
			size += 3000
		case n < 14:
			return killStep{paths: paths}
		case n < 16:
			return killStep{}
		}
		return killStep{paths, fmt.Sprintf(` {"n": %d, "text": "%s"} `, rng.Uint32(), strings.Repeat("x", size/len(paths)))}
	}
}

// applyTo makes the write in a model.
func (s killStep) applyTo(model map[string]string) {
	for _, path := range s.paths {
		if s.data != "" {
			model[path] = s.data
		} else {
			maps.DeleteFunc(model, func(stored, _ string) bool { return key.Match(path, stored) })
		}
	}
}

// make makes the write in a store, and returns the revision of data.
func (s killStep) make(store *storage.Layered, l Layer) (revision uint64, err error) {
	if len(s.paths) == 0 {
		return 0, l.Compact(context.Background())
	}
	if s.data == "" {
		if err := store.Del(s.paths[0]); !errors.Is(err, storage.ErrNotFound) {
			return 0, err
		}
		return 0, nil
	}
	var batch storage.Batch
	for _, path := range s.paths {
		batch.Set(path, json.RawMessage(s.data))
	}
	objects, err := store.Commit(&batch)
	if err != nil {
		return 0, err
	}
	return objects[len(objects)-1].Revision, nil
}

func killStore(l Layer) (*storage.Layered, error) {
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: l})
	return store, store.Start(storage.Options{Logger: slog.New(slog.DiscardHandler)})
}

// write is the process: it writes until it is killed, or until the first error. It prints a line for each
// acknowledged write.
func (k killTask) write(l Layer) error {
	store, err := killStore(l)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for writer := range killWriters {
		go func() {
			for next := k.steps(writer); ; {
				revision, err := next().make(store, l)
				if err != nil {
					failed <- fmt.Errorf("writer %d: %w", writer, err)
				}
				os.Stdout.WriteString(fmt.Sprintf("acknowledged %d %d\n", writer, revision)) // in one call
			}
		}()
	}
	return <-failed
}

// run runs the process, and kills it after a number of writes, or after a short time, also while it starts.
func (k killTask) run(t *testing.T, rng *rand.Rand, left *killLeft) {
	t.Helper()
	task, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	process := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	process.Env = append(os.Environ(), killVariable+"="+string(task))
	var failure strings.Builder
	process.Stderr = &failure
	out, err := process.StdoutPipe()
	if err = cmp.Or(err, process.Start()); err != nil {
		t.Fatal(err)
	}
	kill := func() {
		if err := process.Process.Kill(); err != nil {
			t.Errorf("kill: %v", err)
		}
	}
	lines := rng.IntN(400)
	if rng.IntN(4) == 0 {
		lines = -1
		defer time.AfterFunc(time.Duration(rng.IntN(100))*time.Millisecond, kill).Stop()
	}
	before := left.revision
	left.acked = [killWriters]int{}
	reader := bufio.NewReader(out)
	for n := 0; ; n++ {
		if n == lines {
			kill()
		}
		line, err := reader.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break // an incomplete line acknowledges nothing
		}
		var writer int
		var revision uint64
		if _, err := fmt.Sscanf(line, "acknowledged %d %d\n", &writer, &revision); err != nil {
			t.Fatalf("the process says %q, %s", line, failure.String())
		}
		left.acked[writer]++
		left.writes++
		left.revision = max(left.revision, revision)
		if revision > 0 && revision <= before {
			t.Errorf("revision %d is used again, after %d", revision, before)
		}
	}
	if err := process.Wait(); err == nil || failure.Len() > 0 {
		t.Fatalf("the process ended with %v and says %s", err, failure.String())
	}
}

// check opens the store, compares its content with that before the process and the writes of the process, and records
// its content.
func (k killTask) check(t *testing.T, l Layer, left *killLeft) {
	t.Helper()
	store, err := killStore(l)
	if err != nil {
		t.Fatalf("start after a crash: %v", err)
	}
	defer store.Close()
	objects, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	if n := CheckSound(t, l); n != len(objects) {
		t.Errorf("the check counts %d objects of %d", n, len(objects))
	}
	content := map[string]string{}
	for path, obj := range objects {
		content[path] = string(obj.Data)
	}
	for writer, acked := range left.acked {
		next := k.steps(writer)
		for range acked {
			next().applyTo(left.content)
		}
		prefix := fmt.Sprintf("w%d/", writer)
		without := difference(content, left.content, prefix)
		next().applyTo(left.content)
		if with := difference(content, left.content, prefix); without != "" && with != "" {
			t.Errorf("writer %d: after %d acknowledged writes %s; with the one in progress %s", writer, acked, without, with)
		}
	}
	left.content = content
}

// difference describes a difference between two contents below a prefix; empty if there is none.
func difference(got, want map[string]string, prefix string) string {
	for _, paths := range []map[string]string{want, got} {
		for path := range paths {
			if strings.HasPrefix(path, prefix) && got[path] != want[path] {
				return fmt.Sprintf("%s is %.40q, expected %.40q", path, got[path], want[path])
			}
		}
	}
	return ""
}
