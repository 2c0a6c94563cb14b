package badger

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/storage"
)

// mount mounts a file system in memory for the test.
func mount(t *testing.T, options string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, options)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skipf("a file system cannot be mounted here (%v): run the test as the superuser to see what a full disk does", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// A disk that is full refuses writes and nothing else, and can be emptied. If it did not, the
// process of the test would be ended by a signal.
func TestFullDisk(t *testing.T) {
	dir := mount(t, "size=32m")
	l := start(t, filepath.Join(dir, "store"), small())
	defer l.Close() // before the file system goes
	db := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: l})
	l.Close()
	if err := db.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	data := fmt.Appendf(nil, "%q", strings.Repeat("incompressible", 1)+random(2000))
	fill := func() (n int) {
		for ; ; n++ {
			_, err := db.Set(fmt.Sprintf("d/%06d", n), data)
			if errors.Is(err, syscall.ENOSPC) {
				return n
			}
			if err != nil {
				t.Fatalf("write %d: %v", n, err)
			}
		}
	}
	stored := fill()
	if stored < 1000 {
		t.Errorf("%d objects of 2 KB fit into 32 MB", stored)
	}
	if got, err := db.Keys(); err != nil || len(got) != stored {
		t.Errorf("of %d objects there are %d, %v", stored, len(got), err)
	}
	// Somebody else takes more.
	other := filepath.Join(dir, "other")
	enginetest.WriteFile(t, other, strings.Repeat("x", 3<<20))
	fill() // a write is refused again, once what compactions gave back is used
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	for i := range stored / 2 {
		if err := db.Del(fmt.Sprintf("d/%06d", i)); err != nil {
			t.Fatalf("delete %d on a full disk: %v", i, err)
		}
	}
	db.Close()
	if err := db.Start(storage.Options{}); err != nil {
		t.Fatalf("start on a full disk: %v", err)
	}
	if err := db.Del("d/*"); err != nil {
		t.Fatalf("delete of all on a full disk: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if err := l.Compact(t.Context()); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if _, err := db.Set("d/000000", data); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("after all was deleted: %v", err)
		}
	}
	if again := fill(); again < stored/2 {
		t.Errorf("%d objects fit after %d were deleted", again, stored)
	}
}

func random(n int) string {
	file, err := os.Open("/dev/urandom")
	if err != nil {
		panic(err)
	}
	defer file.Close()
	content := make([]byte, n/2)
	if _, err := io.ReadFull(file, content); err != nil {
		panic(err)
	}
	return fmt.Sprintf("%x", content)
}

// child runs the test itself as a second process and returns what it says. The variable makes it
// the child.
func child(t *testing.T, variable, value string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.SplitN(t.Name(), "/", 2)[0]+"$")
	command.Env = append(os.Environ(), variable+"="+value)
	return command
}

// Without the look at the room, a full disk ends the process. Nothing that was acknowledged is lost.
func TestFullDiskEndsTheProcess(t *testing.T) {
	const variable = "OOLITH_TEST_FULL"
	unguarded := small()
	unguarded.MinFree = -1
	if dir := os.Getenv(variable); dir != "" {
		l := start(t, dir, unguarded)
		for i := 0; ; i++ {
			if err := l.Commit(puts([]string{fmt.Sprintf("d/%06d", i)}, 500, 1)); err != nil {
				t.Fatal(err)
			}
			fmt.Println(i)
		}
	}
	dir := mount(t, "size=8m")
	command := child(t, variable, filepath.Join(dir, "store"))
	var said strings.Builder
	command.Stderr = &said
	out, err := command.StdoutPipe()
	if err = cmp.Or(err, command.Start()); err != nil {
		t.Fatal(err)
	}
	last := -1
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			last = n
		}
	}
	if err := command.Wait(); err == nil || !strings.Contains(said.String(), "SIGBUS") {
		t.Errorf("the process ended with %v and said %.200q, expected a bus error", err, said.String())
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	l := start(t, filepath.Join(dir, "store"), small())
	defer l.Close()
	if n := len(enginetest.Keys(t, l)); n != last+1 && n != last+2 {
		t.Errorf("of %d acknowledged objects there are %d", last+1, n)
	}
	if _, found := enginetest.Checked(t, l); len(found) > 0 {
		t.Errorf("the check finds %q", found)
	}
}

// A disk that takes no larger file fails a commit. The layer stops, closes, and starts again when
// the disk takes it.
func TestLimitedFiles(t *testing.T) {
	const variable = "OOLITH_TEST_LIMIT"
	if dir := os.Getenv(variable); dir != "" {
		limitedFiles(t, dir)
		return
	}
	output, err := child(t, variable, t.TempDir()).CombinedOutput()
	if err != nil {
		t.Errorf("the process ended with %v and said\n%s", err, output)
	}
}

func limitedFiles(t *testing.T, dir string) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(to uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: to, Max: before.Max}); err != nil {
			t.Fatal(err)
		}
	}
	options := small()
	options.MinFree = -1
	l := start(t, dir, options)
	limit(1 << 20) // a log takes twice as much
	stored := 0
	var failure error
	for ; failure == nil && stored < 10_000; stored++ {
		failure = l.Commit(puts([]string{fmt.Sprintf("d/%06d", stored)}, 500, 1))
	}
	stored--
	if !errors.Is(failure, syscall.EFBIG) || !strings.Contains(failure.Error(), dir) {
		t.Fatalf("write %d: %v, expected the failure of the disk and the directory", stored, failure)
	}
	if err := l.Set("later", enginetest.Object("later", 1, "1")); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("a write after it: %v", err)
	}
	// Badger has no table in memory any more: a read is an error at most.
	if obj, err := l.Get("d/000000"); err != nil && errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a read after it: %v, %v", obj, err)
	}
	enginetest.Within(t, "Close", l.Close)
	limit(before.Cur)
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatalf("start when the disk takes files again: %v", err)
	}
	if n := len(enginetest.Keys(t, l)); n != stored && n != stored+1 {
		t.Errorf("of %d acknowledged objects there are %d", stored, n)
	}
	enginetest.SetAll(t, l, "later")
}

// A compaction that cannot make a file waits. Badger would go on, and lose what would have been in
// the file.
func TestCompactionWithoutFiles(t *testing.T) {
	dir := mount(t, "size=64m,nr_inodes=200")
	options := small()
	options.hooks.patience = 50 * time.Millisecond
	l := start(t, filepath.Join(dir, "store"), options)
	defer l.Close()
	const n = 3000
	enginetest.SetAll(t, l, "first")
	if err := l.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.Commit(puts(enginetest.Numbered("d", n), 900, 1)); err != nil {
			t.Fatal(err)
		}
		if err := storeOf(l).rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// A small file takes as much of the disk's files as a large one.
	var others []string
	for {
		name := filepath.Join(dir, fmt.Sprint("other", len(others)))
		if err := os.WriteFile(name, nil, 0o644); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		others = append(others, name)
	}
	merged := make(chan error, 1)
	s, err := l.beginWork()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer s.work.Done()
		merged <- s.merge(t.Context())
	}()
	enginetest.Within(t, "the failure", func() { <-storeOf(l).health.failed })
	if err := l.Set("later", enginetest.Object("later", 1, "1")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write after it: %v", err)
	}
	if got := len(enginetest.Keys(t, l)); got != n+1 {
		t.Errorf("while it waits there are %d objects, expected %d", got, n)
	}
	enginetest.Within(t, "Close", l.Close)
	enginetest.Within(t, "Start", func() { mustRefuse(t, l, "could not be closed") })
	for _, name := range others {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	enginetest.Within(t, "the merge", func() { <-merged })
	enginetest.Within(t, "the end of it", func() { <-l.left })
	enginetest.Within(t, "Start", func() {
		if err := l.Start(storage.LayerOptions{}); err != nil {
			t.Errorf("start when there are files again: %v", err)
		}
	})
	if got := len(enginetest.Keys(t, l)); got != n+1 {
		t.Errorf("after it waited there are %d objects, expected %d", got, n)
	}
}

// A directory on a disk that is read-only.
func TestOpenReadOnlyDisk(t *testing.T) {
	dir := mount(t, "size=16m")
	store := filepath.Join(dir, "store")
	start(t, store, small()).Close()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, New(store, small()), "cannot be written")
	mustRefuse(t, New(filepath.Join(dir, "other"), small()), "cannot be written")
}

// A small disk takes writes with the options as they are, and a full one is read, by who asks for no more.
func TestSmallDisk(t *testing.T) {
	dir := mount(t, "size=64m")
	store := filepath.Join(dir, "store")
	l := start(t, store, Options{})
	const n = 5000
	if err := l.Commit(puts(enginetest.Numbered("d", n), 500, 1)); err != nil {
		t.Fatalf("the first write on a disk of 64 MiB: %v", err)
	}
	l.Close()
	left, err := lookAtRoom(dir)
	if err != nil {
		t.Fatal(err)
	}
	enginetest.WriteFile(t, filepath.Join(dir, "other"), strings.Repeat("x", int(left.bytes)))
	mustRefuse(t, New(store, Options{}), "nearly full", "min-free", "readonly=on")
	before := enginetest.Digest(t, store)
	reader := start(t, store, Options{ReadOnly: true})
	defer reader.Close() // before the file system goes
	if got := enginetest.Keys(t, reader); len(got) != n {
		t.Errorf("on a full disk there are %d objects, expected %d", len(got), n)
	}
	reader.Close()
	if after := enginetest.Digest(t, store); after != before {
		t.Errorf("the files were\n%s and are\n%s", before, after)
	}
}
