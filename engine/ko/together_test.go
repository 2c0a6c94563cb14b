package ko

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

// A write is before a clear as a whole or behind it: of two writes in order, the second
// is not removed by a clear that the first survives.
func TestClearAmongWriters(t *testing.T) {
	l := enginetest.Start(t, newMemDisk().layer(t, Options{WriteBuffer: smallBuffer}))
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("many/%d", i))
	}
	var done atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; !done.Load(); i++ {
			enginetest.Set(t, l, fmt.Sprintf("first/%d", i), "second")
		}
	})
	for range 50 {
		fill(t, l, many)
		l.Clear()
		loaded, err := l.Load()
		if err != nil {
			t.Fatal(err)
		}
		firsts := 0
		for path := range loaded {
			if strings.HasPrefix(path, "first/") {
				firsts++
			}
		}
		if loaded["second"] == nil && firsts > 1 {
			t.Errorf("a clear removed what was written behind %d of the objects that it left", firsts-1)
			break
		}
	}
	done.Store(true)
	group.Wait()
	l.Clear()
	if got := enginetest.Keys(t, l); len(got) > 0 {
		t.Errorf("after the last Clear there is %q", got)
	}
}
