package badger

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// The test of the crash of a process: it runs itself as a child that opens a store and writes, one
// line for each write that was acknowledged, and kills it at any moment. Each writer of the child
// makes a sequence of changes that its seed tells, in a directory of its own: so what must be there
// is known from the number of lines. The last change, without a line, may be there or not, but
// whole.

// The variables that make the test binary the child.
const (
	killDir  = "OOLITH_TEST_KILL_DIR"
	killSeed = "OOLITH_TEST_KILL_SEED"
	killFrom = "OOLITH_TEST_KILL_FROM"
	killMode = "OOLITH_TEST_KILL_MODE"
	// killRounds is how often the child is killed; it can be set for a longer run.
	killRounds = "OOLITH_TEST_KILL_ROUNDS"
)

const killWriters = 4

// killChange is one change of a writer.
type killChange struct {
	del  bool // of all, when there are no paths
	path []string
	data string
}

// killSequence returns the changes of a writer, one after the other.
func killSequence(seed uint64, writer int) func() killChange {
	rng := rand.New(rand.NewPCG(seed, uint64(writer)))
	n := 0
	return func() killChange {
		n++
		path := fmt.Sprintf("w%d/%d", writer, rng.IntN(60))
		size := rng.IntN(300)
		switch rng.IntN(40) {
		case 0:
			return killChange{del: true}
		case 1: // more than a transaction takes
			c := killChange{data: fmt.Sprintf(`{"n":%d,"batch":%d}`, n, size)}
			for i := range 2500 {
				c.path = append(c.path, fmt.Sprintf("w%d/b%d", writer, i))
			}
			return c
		case 2, 3, 4, 5:
			size += 3000
		case 6, 7, 8, 9, 10, 11:
			return killChange{del: true, path: []string{path}}
		}
		return killChange{path: []string{path}, data: fmt.Sprintf(`{"n":%d,"pad":%q}`, n, strings.Repeat("p", size))}
	}
}

// applyTo makes the change in a model.
func (c killChange) applyTo(model map[string]string) {
	if c.del && c.path == nil {
		clear(model)
	}
	for _, path := range c.path {
		if c.del {
			delete(model, path)
		} else {
			model[path] = c.data
		}
	}
}

// make makes the change in a store.
func (c killChange) make(db *storage.Layered, writer int) error {
	switch {
	case c.del && c.path == nil:
		return db.Del(fmt.Sprintf("w%d/*", writer))
	case c.del:
		if err := db.Del(c.path[0]); !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		return nil
	case len(c.path) == 1:
		_, err := db.Set(c.path[0], json.RawMessage(c.data))
		return err
	}
	var batch storage.Batch
	for _, path := range c.path {
		batch.Set(path, json.RawMessage(c.data))
	}
	_, err := db.Commit(&batch)
	return err
}

// killModes are the kinds of stores that are killed.
var killModes = []string{"synced", "not synced", "encrypted"}

func killStore(dir, mode string) (*storage.Layered, *Layer) {
	o := small()
	switch mode {
	case "not synced":
		o.Durability = DurabilityNoSync
	case "encrypted":
		o = encrypted(o)
	}
	layer := New(dir, o)
	return storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer}), layer
}

// killChild is the child.
func killChild(t *testing.T, dir string) {
	seed, err := strconv.ParseUint(os.Getenv(killSeed), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	db, layer := killStore(dir, os.Getenv(killMode))
	if err := db.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fmt.Println("started")
	var out sync.Mutex
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	group.Go(func() { // compactions beside all of it
		for ctx.Err() == nil {
			if err := layer.Compact(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("compact: %v", err)
				return
			}
		}
	})
	for writer, from := range strings.Split(os.Getenv(killFrom), ",") {
		done, err := strconv.Atoi(from)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			next := killSequence(seed, writer)
			for range done {
				next()
			}
			for {
				if err := next().make(db, writer); err != nil {
					t.Errorf("writer %d: %v", writer, err)
					cancel()
					return
				}
				out.Lock()
				fmt.Println("done", writer)
				out.Unlock()
			}
		})
	}
	group.Wait()
}

func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		killChild(t, dir)
		return
	}
	for _, mode := range killModes {
		t.Run(mode, func(t *testing.T) { testKill(t, mode) })
	}
}

func testKill(t *testing.T, mode string) {
	rounds := 4
	if asked := os.Getenv(killRounds); asked != "" {
		var err error
		if rounds, err = strconv.Atoi(asked); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	done := make([]int, killWriters)
	models := make([]map[string]string, killWriters)
	sequences := make([]func() killChange, killWriters)
	for w := range killWriters {
		models[w], sequences[w] = map[string]string{}, killSequence(seed, w)
	}
	total := 0
	for round := range rounds {
		// While it opens the store, soon after that, or later.
		lines := []int{0, rng.IntN(100), rng.IntN(1000)}[rng.IntN(3)]
		delay := time.Duration(rng.IntN(100)) * time.Millisecond
		acknowledged := killOnce(t, dir, seed, done, mode, lines, delay)
		content := killContent(t, dir, mode)
		for w := range killWriters {
			for range acknowledged[w] {
				sequences[w]().applyTo(models[w])
			}
			done[w] += acknowledged[w]
			total += acknowledged[w]
			if same(content[w], models[w]) {
				continue
			}
			// The change without a line.
			sequences[w]().applyTo(models[w])
			done[w]++
			if !same(content[w], models[w]) {
				t.Fatalf("round %d: what writer %d left after %d changes is neither of before nor of after the next one:\n%s",
					round, w, done[w]-1, difference(content[w], models[w]))
			}
		}
	}
	t.Logf("%d acknowledged writes in %d rounds", total, rounds)
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for path, data := range a {
		if b[path] != data {
			return false
		}
	}
	return true
}

// difference tells some of the paths that differ.
func difference(got, want map[string]string) string {
	var lines []string
	for path := range got {
		if want[path] == "" {
			lines = append(lines, fmt.Sprintf("%s is %.40s, expected nothing", path, got[path]))
		}
	}
	for path, data := range want {
		if got[path] != data {
			lines = append(lines, fmt.Sprintf("%s is %.40s, expected %.40s", path, got[path], data))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines[:min(len(lines), 20)], "\n")
}

// killContent opens the store and returns what the writers left.
func killContent(t *testing.T, dir, mode string) []map[string]string {
	t.Helper()
	db, layer := killStore(dir, mode)
	if err := db.Start(storage.Options{}); err != nil {
		t.Fatalf("start after a crash: %v", err)
	}
	defer db.Close()
	if n, err := layer.Check(t.Context(), func(err error) { t.Errorf("check after a crash: %v", err) }); err != nil {
		t.Errorf("check after a crash: %d objects, %v", n, err)
	}
	content := make([]map[string]string, killWriters)
	for w := range content {
		content[w] = map[string]string{}
		objects, err := db.GetList(fmt.Sprintf("w%d/*", w))
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range objects {
			content[w][obj.Path] = string(obj.Data)
		}
	}
	return content
}

// killOnce runs the child, kills it after it said some lines, or after a delay when there are to be
// none, and returns how many writes of each writer it acknowledged.
func killOnce(t *testing.T, dir string, seed uint64, done []int, mode string, lines int, delay time.Duration) []int {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	from := strings.Trim(strings.ReplaceAll(fmt.Sprint(done), " ", ","), "[]")
	child.Env = append(os.Environ(), killDir+"="+dir, fmt.Sprint(killSeed, "=", seed), killFrom+"="+from,
		killMode+"="+mode)
	var said strings.Builder
	child.Stderr = &said
	out, err := child.StdoutPipe()
	if err = cmp.Or(err, child.Start()); err != nil {
		t.Fatal(err)
	}
	kill := func() {
		if err := child.Process.Kill(); err != nil {
			t.Errorf("kill: %v", err)
		}
	}
	if lines == 0 {
		defer time.AfterFunc(delay, kill).Stop()
	}
	acknowledged := make([]int, len(done))
	reader := bufio.NewReader(out)
	for n := 0; ; n++ {
		if n == lines && lines > 0 {
			kill()
		}
		line, err := reader.ReadString('\n')
		if err == io.EOF {
			break // what it had said when it was killed is read
		}
		if err != nil {
			t.Fatal(err)
		}
		var writer int
		if _, err := fmt.Sscanf(line, "done %d\n", &writer); err == nil {
			acknowledged[writer]++
		} else if line != "started\n" {
			t.Errorf("the child says %q", line)
		}
	}
	if err := child.Wait(); err == nil || said.Len() > 0 {
		t.Fatalf("the child ended with %v and said %q", err, said.String())
	}
	return acknowledged
}
