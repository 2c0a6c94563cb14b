package pathtree

import (
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// loadBatch is how many objects pass at once from the goroutine that reads to the one
// that builds: enough to hide the hand-over.
const loadBatch = 512

// Load replaces the content by what a sequence yields, in any order, and returns the highest revision in
// it. The tree keeps the objects' Data and Path. The sequence runs on a
// goroutine of its own, so that decoding and building overlap; it has ended when Load
// returns. On an error, of the sequence or for a path that comes twice, the tree is unchanged.
// hint is roughly the number of objects, 0 when it is unknown.
func (t *Tree) Load(objects iter.Seq2[meta.Object, error], hint int) (revision uint64, err error) {
	t.write.Lock()
	defer t.write.Unlock()
	s := newState(hint)
	batches := make(chan []*Version, 8)
	stop := make(chan struct{})
	var failed error // read after batches is closed
	go func() {
		defer close(batches)
		failed = produce(objects, batches, stop)
	}()

	pending := make(map[*directory][]*entry)
	var dir *directory
	var entries []*entry // of dir
	bytes := 0
	for batch := range batches {
		for _, n := range batch {
			if err != nil {
				break // drain
			}
			if s.objects.load(n.Path) != nil {
				err = fmt.Errorf("pathtree: load: key %q comes twice", n.Path)
				close(stop)
				break
			}
			s.objects.store(nil, n)
			revision = max(revision, n.Revision)
			bytes += len(n.Data)
			if parent := key.Parent(n.Path); dir == nil || dir.path != parent {
				if dir != nil {
					pending[dir] = entries
				}
				dir = s.directory(parent)
				entries = pending[dir]
			}
			entries = append(entries, n.entry)
		}
	}
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, err
	}
	if dir != nil {
		pending[dir] = entries
	}
	fillAll(pending)
	s.objects.move(math.MaxInt) // readers begin with one table
	s.bytes.Store(int64(bytes))
	t.state.Store(s)
	return revision, nil
}

// produce turns objects into nodes and sends them on in batches, until stop. A panic of the
// sequence is an error: on this goroutine nobody could recover it.
func produce(objects iter.Seq2[meta.Object, error], batches chan<- []*Version, stop <-chan struct{}) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("pathtree: load: reading panicked: %v", value)
		}
	}()
	batch := make([]*Version, 0, loadBatch)
	for obj, err := range objects {
		if err != nil {
			return err
		}
		batch = append(batch, newVersion(obj, hashOf(obj.Path)))
		if len(batch) < loadBatch {
			continue
		}
		select {
		case batches <- batch:
			batch = make([]*Version, 0, loadBatch)
		case <-stop:
			return nil
		}
	}
	select {
	case batches <- batch:
	case <-stop:
	}
	return nil
}

// fillAll builds the lists of empty directories, on all processors.
func fillAll(pending map[*directory][]*entry) {
	type job struct {
		dir     *directory
		entries []*entry
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pending)) {
		workers.Go(func() {
			for j := range jobs {
				j.dir.fill(j.entries)
			}
		})
	}
	for dir, entries := range pending {
		jobs <- job{dir, entries}
	}
	close(jobs)
	workers.Wait()
}

// fill builds an empty directory's list. Nobody else knows the directory yet.
func (d *directory) fill(entries []*entry) {
	compare := func(a, b *entry) int { return Compare(&a.node.Object, &b.node.Object) }
	if !slices.IsSortedFunc(entries, compare) {
		slices.SortFunc(entries, compare)
	}
	expiring := 0
	for _, e := range entries {
		d.list.Load(e)
		if e.node.Expires != 0 {
			expiring++
		}
	}
	d.expire(expiring)
}
