package command

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// TestWriterKeepsTheOrder adds records of a few paths in random order: all are committed in the
// order in which they were added, and no batch holds a path twice.
func TestWriterKeepsTheOrder(t *testing.T) {
	random := testrand.New(t)
	var got []int64
	w := startWriter(func(batch []job) {
		seen := map[string]bool{}
		for _, j := range batch {
			if seen[j.path] {
				t.Errorf("a batch holds %q twice", j.path)
			}
			seen[j.path] = true
			got = append(got, j.number)
		}
	})
	for i := range int64(5000) {
		w.add(job{number: i, path: fmt.Sprint("p", random.IntN(400))})
	}
	w.wait()
	if len(got) != 5000 || !slices.IsSorted(got) {
		t.Errorf("%d records were committed, in order: %v, want 5000 in order", len(got), slices.IsSorted(got))
	}
}

// TestWriterGathers shows that a lone record is committed at once, and that what comes during a
// commit shares the next, up to the bounds of a batch.
func TestWriterGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		release := make(chan struct{})
		w := startWriter(func(batch []job) {
			sizes = append(sizes, len(batch))
			<-release
		})
		add := func(n, size int) {
			for i := range n {
				w.add(job{path: fmt.Sprint(n, "/", i), data: make([]byte, size)})
			}
		}
		expect := func(when string, want ...int) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(sizes, want) {
				t.Errorf("%s: batches of %v, want %v", when, sizes, want)
			}
		}
		add(1, 10)
		expect("a lone record", 1)
		add(7, 10)
		expect("during a commit", 1)
		release <- struct{}{}
		expect("after it", 1, 7)
		add(batchRecords, 10)
		release <- struct{}{}
		expect("a full batch", 1, 7, batchRecords)
		add(3, batchBytes)
		release <- struct{}{}
		expect("large records", 1, 7, batchRecords, 1)
		close(release)
		w.wait()
		if want := []int{1, 7, batchRecords, 1, 1, 1}; !slices.Equal(sizes, want) {
			t.Errorf("in the end: batches of %v, want %v", sizes, want)
		}
	})
}

// TestCommitterFindsTheRefused stores a batch of which some records are refused: the others are
// stored, in a few commits, and each is answered for once, in order.
func TestCommitterFindsTheRefused(t *testing.T) {
	disk := &storagetest.Disk{}
	refused := map[string]bool{"x/17": true, "x/18": true, "x/600": true}
	layer, commits := &wrong{BatchLayer: storagetest.NewBatchLayer(disk, "d")}, 0
	layer.commit = func(changes []storage.Change) error {
		commits++
		for i, c := range changes {
			if refused[c.Key] {
				return &storage.EntryError{Index: i, Err: errors.New("too large")}
			}
		}
		return layer.BatchLayer.Commit(changes)
	}
	store := storage.New(storage.LayeredConfig{Embedded: layer})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var answered []int64
	c := &committer{store: store}
	c.done = func(j job, err error) {
		answered = append(answered, j.number)
		if refused[j.path] != (err != nil) || err != nil && (!isRefusal(err) || !strings.Contains(err.Error(), "too large")) {
			t.Errorf("%s: %v", j.path, err)
		}
	}
	var batch []job
	for i := range int64(1000) {
		batch = append(batch, job{number: i, path: fmt.Sprint("x/", i), data: []byte("1")})
	}
	c.commit(batch)
	if len(answered) != 1000 || !slices.IsSorted(answered) {
		t.Errorf("%d answers, in order: %v", len(answered), slices.IsSorted(answered))
	}
	if keys, err := store.Keys(); err != nil || len(keys) != 997 {
		t.Errorf("%d objects are stored, %v, want 997", len(keys), err)
	}
	if commits > 60 {
		t.Errorf("%d commits for three refused records", commits)
	}
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		b.acquire(60)
		var entered atomic.Bool
		go func() {
			b.acquire(1000) // as much as there is, and alone
			entered.Store(true)
		}()
		synctest.Wait()
		if entered.Load() {
			t.Error("1000 of 100 bytes were taken while 60 were in use")
		}
		b.release(60)
		synctest.Wait()
		if !entered.Load() {
			t.Error("1000 bytes wait though nothing else is in use")
		}
		b.release(1000)
		b.acquire(100)
		if b.left != 0 {
			t.Errorf("%d bytes left, want 0", b.left)
		}
	})
}
