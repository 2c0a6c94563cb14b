package bbolt

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// What storagetest cannot know: the file, and what bbolt does.

// started returns a layer on a file, until the test ends.
func started(t *testing.T, file string, o Options) *Layer {
	t.Helper()
	l := New(file, o)
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(l.Close)
	return l
}

func set(t *testing.T, l *Layer, path, data string) {
	t.Helper()
	if err := l.Set(path, &meta.Object{Created: 1, Data: []byte(data)}); err != nil {
		t.Fatalf("Set %s: %v", path, err)
	}
}

// fillWith stores n numbered objects in one batch.
func fillWith(t *testing.T, l *Layer, n int) {
	t.Helper()
	changes := make([]storage.Change, n)
	for i := range changes {
		changes[i] = storage.Change{Key: fmt.Sprintf("a/%04d", i), Object: &meta.Object{Created: 1, Data: []byte(`"data"`)}, Revision: uint64(i + 1)}
	}
	if err := l.Commit(changes); err != nil {
		t.Fatal(err)
	}
}

// A loop over a scan writes so much that bbolt has to map more of the file, which waits for transactions that read.
func TestWritesInALoop(t *testing.T) {
	l := started(t, in(t.TempDir()), Options{})
	fillWith(t, l, 1000)
	large := `"` + strings.Repeat("x", 1<<20) + `"`
	seen := 0
	for obj, err := range l.Scan("a/*") {
		if err != nil || obj.Path != fmt.Sprintf("a/%04d", seen) {
			t.Fatalf("the object %d is %s, error %v", seen, obj.Path, err)
		}
		if seen%100 == 0 {
			set(t, l, fmt.Sprintf("a/%04d", seen/2), large)
			set(t, l, fmt.Sprintf("b/%04d", seen), large)
		}
		seen++
	}
	if seen != 1000 {
		t.Errorf("the loop saw %d objects, want 1000", seen)
	}
	if l.life.Use(func(d *database) error { return fmt.Errorf("%d scans", d.scans.Len()) }).Error() != "0 scans" {
		t.Error("a scan that ended is kept")
	}
}

func TestCloseInALoop(t *testing.T) {
	for _, writes := range []bool{false, true} {
		l := started(t, in(t.TempDir()), Options{})
		fillWith(t, l, 1000)
		seen := 0
		var last error
		for _, err := range l.Scan("") {
			if last = err; err != nil {
				break
			}
			if seen++; seen == 10 {
				if writes {
					set(t, l, "b", "1")
				}
				l.Close()
			}
		}
		if !errors.Is(last, storage.ErrNotActive) || seen >= 1000 {
			t.Errorf("after Close in the loop: %d objects, error %v, want fewer than 1000 and ErrNotActive", seen, last)
		}
	}
}

func TestRefused(t *testing.T) {
	whole := in(t.TempDir())
	l := started(t, whole, Options{})
	fillWith(t, l, 1000)
	l.Close()
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	foreign := in(t.TempDir())
	db, err := bolt.Open(foreign, 0o644, nil)
	if err == nil {
		err = errors.Join(db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err }), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ content, want string }{
		"nothing":           {"", "the file is empty"},
		"a text":            {strings.Repeat("no database\n", 1000), "invalid database"},
		"another program's": {string(theirs), "of another program"},
		"half":              {string(content[:len(content)/2]), "cut short"},
		"a page":            {string(content[:4096]), "restore it from a backup"},
	} {
		file := in(t.TempDir())
		if err := os.WriteFile(file, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		err := New(file, Options{}).Start(storage.LayerOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: Start is %v, want an error that names the file and says %q", name, err, c.want)
		}
		if after, err := os.ReadFile(file); err != nil || string(after) != c.content {
			t.Errorf("%s: the file was changed, error %v", name, err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	file := in(t.TempDir())
	if err := New(file, Options{ReadOnly: true}).Start(storage.LayerOptions{}); err == nil {
		t.Error("a store that is not there is opened to read only")
	}
	l := started(t, file, Options{})
	set(t, l, "a", "1")
	l.Close()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, also := started(t, file, Options{ReadOnly: true}), started(t, file, Options{ReadOnly: true})
	if obj, err := r.Get("a"); err != nil || string(obj.Data) != "1" {
		t.Errorf("Get is %s, %v", obj.Data, err)
	}
	for what, err := range map[string]error{
		"Set": r.Set("a", &meta.Object{Data: []byte("2")}), "Del": r.Del("a"), "Commit": r.Commit([]storage.Change{{Clear: true}}), "MarkIncomplete": r.MarkIncomplete("x"),
	} {
		if !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("%s of a layer that reads only: %v, want ErrReadOnly", what, err)
		}
	}
	if err := New(file, Options{}).Start(storage.LayerOptions{}); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("a writer beside readers: %v, want ErrInUse", err)
	}
	r.Close()
	also.Close()
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed, error %v", err)
	}
}

// Whatever byte changes, reading ends, with the truth or an error.
func TestFlippedBytes(t *testing.T) {
	file := in(t.TempDir())
	l := started(t, file, Options{})
	fillWith(t, l, 300)
	l.Close()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	told := 0
	for range 300 {
		damaged, at := []byte(string(content)), rng.IntN(len(content))
		damaged[at] ^= 1 << rng.IntN(8)
		if err := os.WriteFile(file, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		l := New(file, Options{ReadOnly: true})
		if l.Start(storage.LayerOptions{}) != nil {
			told++
			continue
		}
		for obj, err := range l.Scan("") {
			if err != nil {
				told++
			} else if string(obj.Data) != `"data"` {
				t.Errorf("byte %d changed: %s is %s", at, obj.Path, obj.Data)
			}
		}
		l.Close()
	}
	if told == 0 {
		t.Error("no change was told")
	}
}

func TestURL(t *testing.T) {
	layer, err := engine.Open("bbolt:"+in(t.TempDir())+"?readonly=on", Engine)
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := layer.(*Layer); !ok || !l.ReadOnly() {
		t.Errorf("the layer of the URL is %T, want one that reads only", layer)
	}
}

// TestKilled kills a process again and again while it commits. What it acknowledged is there, batches are whole,
// and the lock goes with it.
func TestKilled(t *testing.T) {
	if file := os.Getenv("BBOLT_FILE"); file != "" {
		commitUntilKilled(t, file)
		return
	}
	file := in(t.TempDir())
	acknowledged := uint64(0)
	for round := range 10 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "BBOLT_FILE="+file)
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n <= 3*round && lines.Scan(); n++ { // the first round ends soon
			if acknowledged, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			if n, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil { // the last one may be cut off
				acknowledged = max(acknowledged, n)
			}
		}
		_ = child.Wait() // it was killed
		l := started(t, file, Options{})
		last, err := l.LastRevision()
		if err != nil || last < acknowledged {
			t.Fatalf("round %d: the last revision is %d, %v, acknowledged were %d", round, last, err, acknowledged)
		}
		list, err := l.GetList("a/*")
		if err != nil || len(list) != 10 {
			t.Fatalf("round %d: %d objects, %v, want the 10 of a batch", round, len(list), err)
		}
		for _, obj := range list {
			if obj.Revision != last {
				t.Errorf("round %d: %s has revision %d, its batch %d", round, obj.Path, obj.Revision, last)
			}
		}
		l.Close()
	}
}

func commitUntilKilled(t *testing.T, file string) {
	l := started(t, file, Options{})
	revision, err := l.LastRevision()
	for err == nil {
		revision++
		changes := make([]storage.Change, 10)
		for i := range changes {
			data := strings.Repeat("1", rand.IntN(5000)+1)
			changes[i] = storage.Change{Key: fmt.Sprintf("a/%d", i), Revision: revision, Object: &meta.Object{Revision: revision, Data: []byte(data)}}
		}
		if err = l.Commit(changes); err == nil {
			fmt.Println(revision)
		}
	}
	t.Fatal(err)
}
