package enginetest

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// Pair returns a batch of two keys in different directories. Neither may be stored without the other. Its data
// repeats the name the given number of times.
func Pair(name string, revision uint64, times int) []storage.Change {
	data := fmt.Sprintf("%q", strings.Repeat(name, times))
	return []storage.Change{
		{Key: "left/" + name, Object: Object("left/"+name, 1, data), Revision: revision},
		{Key: "right/x/" + name, Object: Object("right/x/"+name, 1, data), Revision: revision},
	}
}

// Pairs are the pairs whose commit was acknowledged. The zero value is empty.
type Pairs struct {
	lock  sync.Mutex
	acked map[string]bool
}

// Write commits pairs from several goroutines until the first error, or count pairs each, and returns one of the
// errors.
func (p *Pairs) Write(l storage.Batcher, count, times int) error {
	var group sync.WaitGroup
	failures := make(chan error, 4)
	var revision atomic.Uint64
	for g := range cap(failures) {
		group.Go(func() {
			for i := range count {
				name := fmt.Sprintf("%d-%05d", g, i)
				if err := l.Commit(Pair(name, revision.Add(1), times)); err != nil {
					failures <- err
					return
				}
				p.Acknowledge(name)
			}
		})
	}
	group.Wait()
	close(failures)
	return <-failures
}

// Acknowledge records a committed pair.
func (p *Pairs) Acknowledge(name string) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.acked == nil {
		p.acked = map[string]bool{}
	}
	p.acked[name] = true
}

// Now returns the pairs acknowledged so far.
func (p *Pairs) Now() *Pairs {
	p.lock.Lock()
	defer p.lock.Unlock()
	return &Pairs{acked: maps.Clone(p.acked)}
}

// CheckHeld checks that a layer holds everything acknowledged, and no half of a pair.
func (p *Pairs) CheckHeld(t testing.TB, l storage.EmbeddedLayer) {
	t.Helper()
	objects, err := l.Load()
	if err != nil {
		t.Errorf("read: %v", err)
		return
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	for name := range p.acked {
		if objects["left/"+name] == nil || objects["right/x/"+name] == nil {
			t.Errorf("the acknowledged %s is lost", name)
		}
	}
	for path := range objects {
		other, ok := strings.CutPrefix(path, "left/")
		other = "right/x/" + other
		if !ok {
			other = "left/" + strings.TrimPrefix(path, "right/x/")
		}
		if objects[other] == nil {
			t.Errorf("%s is there without %s", path, other)
		}
	}
}
