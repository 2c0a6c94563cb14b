package pathtree

import (
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/oolith-db/oolith/meta"
)

// loadBatch is how many objects at a time pass from the reading goroutine to the building one. It is large enough to
// hide the cost of the handover.
const loadBatch = 512

// Load replaces the content with the objects of a sequence, in any order, and returns the highest revision among them.
// The tree keeps the Data of large objects, and copies the rest. The sequence runs in its own goroutine, so decoding and
// building overlap. It has ended when Load returns. On an error, of the sequence or for a duplicate path, the tree is
// unchanged. hint is roughly the number of objects, 0 if unknown.
//
// Objects without a revision get the revisions after the result of after(highest), where highest is the highest loaded
// revision. They get them in the order of lists, and Load returns them. If after is nil, they stay without a revision.
func (t *Tree) Load(
	objects iter.Seq2[meta.Object, error], hint int, after func(highest uint64) uint64,
) (revision uint64, numbered []*Version, err error) {
	t.write.Lock()
	defer t.write.Unlock()
	s := newState(hint)
	batches := make(chan []loaded, 8)
	stop := make(chan struct{})
	var failed error // read after batches is closed
	go func() {
		defer close(batches)
		failed = produce(objects, batches, stop)
	}()

	pending := make(map[*directory][]*Version)
	var dir *directory
	var versions []*Version // of dir
	bytes := 0
	for batch := range batches {
		for _, one := range batch {
			if err != nil {
				break // drain
			}
			n := one.version
			if s.objects.loadAt(one.hash, n.Path()) != nil {
				err = fmt.Errorf("pathtree: load: key %q comes twice", n.Path())
				close(stop)
				break
			}
			s.objects.storeAt(one.hash, nil, n)
			if revision = max(revision, n.revision); n.revision == 0 && after != nil {
				numbered = append(numbered, n)
			}
			bytes += n.bytes()
			if parent := n.parent(); dir == nil || dir.path != parent {
				if dir != nil {
					pending[dir] = versions
				}
				dir = s.directory(parent)
				versions = pending[dir]
			}
			versions = append(versions, n)
		}
	}
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, nil, err
	}
	if len(numbered) > 0 {
		slices.SortFunc(numbered, CompareVersions)
		revision = after(revision)
		for _, n := range numbered {
			revision++
			n.revision = revision // not shared yet
		}
	}
	if dir != nil {
		pending[dir] = versions
	}
	fillAll(pending)
	s.objects.move(math.MaxInt) // readers start with one table
	s.bytes.Store(int64(bytes))
	t.state.Store(s)
	return revision, numbered, nil
}

// loaded is an object and the hash of its path.
type loaded struct {
	version *Version
	hash    uint64
}

// produce turns objects into versions and sends them in batches, until stop. It turns a panic of the sequence into an
// error, because nobody could recover it in this goroutine.
func produce(objects iter.Seq2[meta.Object, error], batches chan<- []loaded, stop <-chan struct{}) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("pathtree: load: reading panicked: %v", value)
		}
	}()
	batch := make([]loaded, 0, loadBatch)
	for obj, err := range objects {
		if err != nil {
			return err
		}
		n := versionOf(nil, &obj)
		batch = append(batch, loaded{n, hashOf(obj.Path)})
		if len(batch) < loadBatch {
			continue
		}
		select {
		case batches <- batch:
			batch = make([]loaded, 0, loadBatch)
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
func fillAll(pending map[*directory][]*Version) {
	type job struct {
		dir      *directory
		versions []*Version
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pending)) {
		workers.Go(func() {
			for j := range jobs {
				j.dir.fill(j.versions)
			}
		})
	}
	for dir, versions := range pending {
		jobs <- job{dir, versions}
	}
	close(jobs)
	workers.Wait()
	for dir := range pending {
		dir.settle()
	}
}

// fill builds an empty directory's list. The directory is not shared yet.
func (d *directory) fill(versions []*Version) {
	if !slices.IsSortedFunc(versions, CompareVersions) {
		slices.SortFunc(versions, CompareVersions)
	}
	for _, n := range versions {
		n.cell = d.cells.add(n)
		d.list.Load(n.entry())
		d.noteEnd(n)
	}
}
