package ko

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
)

// This file kills a process that writes, again and again, and checks what it finds. The test
// binary runs itself as that process. Each writer of it has directories of its own and a sequence
// of writes that follows from a seed, so that the test knows which write was under way.

const (
	killVariable   = "OOLITH_TEST_KILL" // the directory and the seed, for the process that is killed
	roundsVariable = "OOLITH_TEST_KILL_ROUNDS"
	killWriters    = 3
)

// killStep is one write of a writer.
type killStep struct {
	kind string // set, del or glob
	path string
	data string
}

// killSteps returns the writes of a writer one by one.
func killSteps(seed uint64, writer int) func() killStep {
	rng := rand.New(rand.NewPCG(seed, uint64(writer)))
	return func() killStep {
		dir := fmt.Sprintf("w%d/%d", writer, rng.IntN(3))
		path := fmt.Sprintf("%s/%d", dir, rng.IntN(20))
		size := rng.IntN(200)
		if rng.IntN(20) == 0 {
			size = rng.IntN(100_000)
		}
		data := fmt.Sprintf(` {"n": %d, "text": "%s"} `, rng.Uint32(), strings.Repeat("x", size))
		switch n := rng.IntN(100); {
		case n < 70:
			return killStep{"set", path, data}
		case n < 99:
			return killStep{"del", path, ""}
		}
		return killStep{"glob", dir + "/*", ""}
	}
}

// apply makes a write in a model.
func (s killStep) apply(model map[string]string) {
	switch s.kind {
	case "set":
		model[s.path] = s.data
	case "del":
		delete(model, s.path)
	default:
		for path := range model {
			if strings.HasPrefix(path, strings.TrimSuffix(s.path, "*")) {
				delete(model, path)
			}
		}
	}
}

// killStore is the store that both processes open.
func killStore(dir string) (*storage.Layered, *Layer) {
	layer := New(dir, Options{WriteBuffer: 64 << 10})
	return storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer}), layer
}

var killOptions = storage.Options{Logger: slog.New(slog.DiscardHandler)}

// killChild is the process that is killed: it writes, and says so in a line after each write
// that was acknowledged.
func killChild(t *testing.T, task string) {
	dir, number, _ := strings.Cut(task, "|")
	seed, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	store, layer := killStore(dir)
	if err := store.Start(killOptions); err != nil {
		t.Fatal(err)
	}
	go func() {
		for layer.Compact(context.Background()) == nil {
		}
	}()
	failed := make(chan error)
	for writer := range killWriters {
		go func() {
			next := killSteps(seed, writer)
			for {
				revision, err := killWrite(store, next())
				if err != nil {
					failed <- err
					return
				}
				// One call, so that a line is whole or not there.
				os.Stdout.WriteString(fmt.Sprintf("acknowledged %d %d\n", writer, revision))
			}
		}()
	}
	t.Fatal(<-failed)
}

// killWrite makes a write and returns its revision where it is known.
func killWrite(store *storage.Layered, s killStep) (revision uint64, err error) {
	if s.kind != "set" {
		if err := store.Del(s.path); !errors.Is(err, storage.ErrNotFound) {
			return 0, err
		}
		return 0, nil
	}
	if _, err := store.Set(s.path, json.RawMessage(s.data)); err != nil {
		return 0, err
	}
	obj, err := store.Get(s.path)
	return obj.Revision, err
}

// Every write that was acknowledged before the process was killed is there, whole. More rounds
// can be asked for: OOLITH_TEST_KILL_ROUNDS=1000.
func TestKill(t *testing.T) {
	if task := os.Getenv(killVariable); task != "" {
		killChild(t, task)
		return
	}
	rounds := 10
	if text := os.Getenv(roundsVariable); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	rng := testrand.New(t)
	dir := t.TempDir()
	model := map[string]string{}
	var lastRevision uint64
	writes := 0
	for round := range rounds {
		k := killed{seed: rng.Uint64(), before: lastRevision}
		k.run(t, dir, rng)
		for _, n := range k.acked {
			writes += n
		}
		model = k.check(t, dir, model)
		lastRevision = max(lastRevision, k.highest)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	t.Logf("%d writes were acknowledged in %d rounds", writes, rounds)
}

// killed is one process that was killed.
type killed struct {
	seed    uint64
	before  uint64 // the highest revision of all rounds before
	acked   [killWriters]int
	highest uint64
}

// run runs the process and kills it, after a number of writes or after a short while.
func (k *killed) run(t *testing.T, dir string, rng *rand.Rand) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", killVariable, dir, k.seed))
	out, err := child.StdoutPipe()
	if err = errors.Join(err, child.Start()); err != nil {
		t.Fatal(err)
	}
	limit := 1 + rng.IntN(400)
	if rng.IntN(4) == 0 {
		limit = -1 // also while it starts
		timer := time.AfterFunc(time.Duration(rng.IntN(60))*time.Millisecond, func() { _ = child.Process.Kill() })
		defer timer.Stop()
	}
	lines, total := bufio.NewScanner(out), 0
	for lines.Scan() {
		var writer int
		var revision uint64
		if n, err := fmt.Sscanf(lines.Text(), "acknowledged %d %d", &writer, &revision); n != 2 {
			t.Errorf("the process says %q: %v", lines.Text(), err)
			continue
		}
		k.acked[writer]++
		k.highest = max(k.highest, revision)
		if revision > 0 && revision <= k.before {
			t.Errorf("revision %d is used again, after %d", revision, k.before)
		}
		if total++; total == limit {
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := child.Wait(); err == nil {
		t.Error("the process has ended by itself")
	}
}

// check opens the store and holds it against the model, to which it adds the writes of the
// round. It returns what is there. Of each writer, the write that was under way may be there too.
func (k *killed) check(t *testing.T, dir string, model map[string]string) map[string]string {
	t.Helper()
	store, layer := killStore(dir)
	if err := store.Start(killOptions); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	got := map[string]string{}
	for obj, err := range layer.Scan("") {
		if err != nil {
			t.Fatal(err)
		}
		got[obj.Path] = string(obj.Data)
	}
	for writer := range killWriters {
		next := killSteps(k.seed, writer)
		for range k.acked[writer] {
			next().apply(model)
		}
		prefix := fmt.Sprintf("w%d/", writer)
		without := diffModels(model, got, prefix)
		next().apply(model)
		if without != "" {
			if with := diffModels(model, got, prefix); with != "" {
				t.Errorf("writer %d: after %d acknowledged writes %s; with the one under way %s",
					writer, k.acked[writer], without, with)
			}
		}
	}
	if objects, err := layer.Check(t.Context(), func(err error) { t.Errorf("Check: %v", err) }); err != nil || objects != len(got) {
		t.Errorf("Check counts %d, %v, expected %d", objects, err, len(got))
	}
	return got
}

// diffModels says where two models differ below a prefix; empty where they do not.
func diffModels(want, got map[string]string, prefix string) string {
	for path, data := range want {
		if strings.HasPrefix(path, prefix) && got[path] != data {
			return fmt.Sprintf("%s is %.40q, expected %.40q", path, got[path], data)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok && strings.HasPrefix(path, prefix) {
			return fmt.Sprintf("%s is there", path)
		}
	}
	return ""
}
