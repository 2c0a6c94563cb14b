package sqlite

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

// openFiles counts the files below a directory that this process has open.
func openFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.HasPrefix(name, dir) {
			n++
		}
	}
	return n
}

// However many loops there are at a time, they have no more than some connections, each sees the store as it was
// when it began, and reads and writes go on.
func TestScansBeyondTheirPlaces(t *testing.T) {
	dir := t.TempDir()
	l := start(t, in(dir), Options{})
	enginetest.Set(t, l, "a/1", "a/2", "a/3")
	const loops = 700
	var begun, group sync.WaitGroup
	begun.Add(loops)
	end := make(chan struct{})
	for range loops {
		group.Go(func() {
			seen := 0
			for _, err := range l.Scan("a/*") {
				if err != nil {
					t.Error(err)
				}
				if seen == 0 {
					begun.Done()
					<-end
				}
				seen++
			}
			if seen != 3 {
				t.Errorf("a loop sees %d objects, expected 3", seen)
			}
		})
	}
	enginetest.Within(t, "the beginning of the loops", begun.Wait)
	// Of each connection: the file, its log, and the log's index at most. Of the layer: its lock.
	most := 3*(readers()+maxScans+1) + 1
	if n := openFiles(t, dir); n > most {
		t.Errorf("%d loops have %d files open, expected at most %d", loops, n, most)
	}
	enginetest.Set(t, l, "a/4")
	if got, err := l.GetList("a/*"); err != nil || len(got) != 4 {
		t.Errorf("a list beside them has %d objects, %v", len(got), err)
	}
	if n := enginetest.CheckSound(t, l); n != 4 {
		t.Errorf("a check beside them counts %d objects", n)
	}
	close(end)
	enginetest.Within(t, "the end of the loops", group.Wait)
	var lists sync.WaitGroup
	for range loops {
		lists.Go(func() {
			if got, err := l.GetList("a/*"); err != nil || len(got) != 4 {
				t.Errorf("a list has %d objects, %v", len(got), err)
			}
		})
	}
	enginetest.Within(t, "the lists", lists.Wait)
	if n := len(opened(l).readers.scans) + len(opened(l).readers.turns) + l.life.Holding(); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}

// A connection that carried a large value is given up for a new one. Where that cannot be opened, the old one goes
// on.
func TestWriterWithoutAnother(t *testing.T) {
	l := start(t, in(t.TempDir()), Options{})
	large := fmt.Sprintf("%q", strings.Repeat("x", heavyData+1))
	path := opened(l).path
	opened(l).path += "/not/there"
	if err := l.Set("a", enginetest.Object("a", 1, large)); err != nil {
		t.Fatal(err)
	}
	enginetest.Set(t, l, "b")
	if !opened(l).writer.heavy {
		t.Error("there is another connection, expected none")
	}
	opened(l).path = path
	enginetest.Set(t, l, "c")
	if opened(l).writer.heavy {
		t.Error("the connection that carried a large value is still there")
	}
}

// A process that may take no more memory is told so, and not that the file is damaged.
func TestOutOfMemory(t *testing.T) {
	const variable = "OOLITH_TEST_MEMORY"
	if file := os.Getenv(variable); file != "" {
		var usage, limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_AS, &usage); err != nil {
			t.Fatal(err)
		}
		limit = unix.Rlimit{Cur: addressesOf(t) + 1<<30, Max: usage.Max}
		if err := unix.Setrlimit(unix.RLIMIT_AS, &limit); err != nil {
			t.Fatal(err)
		}
		err := New(file, Options{}).Start(storage.LayerOptions{})
		if err := unix.Setrlimit(unix.RLIMIT_AS, &usage); err != nil {
			t.Fatal(err)
		}
		if err == nil || !strings.Contains(err.Error(), "out of memory") || !errors.Is(err, unix.ENOMEM) ||
			strings.Contains(err.Error(), "corrupt") {
			t.Errorf("without memory: %v", err)
		}
		enginetest.Set(t, start(t, file, Options{}), "a")
		return
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), variable+"="+filepath.Join(t.TempDir(), "store.db"))
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("the process ended with %v and said\n%s", err, output)
	}
}

// addressesOf returns the address space that this process has.
func addressesOf(t *testing.T) (size uint64) {
	t.Helper()
	file, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "VmSize: %d kB", &size); err == nil {
			return size << 10
		}
	}
	t.Fatal("the size of the process is not told")
	return 0
}
