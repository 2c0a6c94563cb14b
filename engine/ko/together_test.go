package ko

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func TestCloseDuringEverything(t *testing.T) {
	l := newMemDisk().layer(t, Options{WriteBuffer: smallBuffer})
	stop := make(chan struct{})
	var group sync.WaitGroup
	calls := []func(int) error{
		func(i int) error { path := fmt.Sprintf("d/%d", i%500); return l.Set(path, object(path, 1, `"x"`)) },
		func(i int) error { return l.Del(fmt.Sprintf("d/%d", i%500)) },
		func(i int) error { return l.Commit(pair(fmt.Sprint(i%2000), uint64(i+1))) },
		func(i int) error { _, err := l.Get(fmt.Sprintf("d/%d", i%500)); return err },
		func(int) error { _, err := l.GetList("d/*"); return err },
		func(int) error { _, err := l.Keys(); return err },
		func(int) error { _, err := l.Load(); return err },
		func(int) error { _, err := l.LastRevision(); return err },
		func(int) error { l.Clear(); return nil },
		func(int) error { l.SizeHint(); l.Active(); l.Skipped(); l.Recovery(); return nil },
		func(int) error { return l.Compact(t.Context()) },
		func(int) error { return l.MarkIncomplete("") },
		func(int) error {
			_, err := l.Check(t.Context(), func(err error) { t.Errorf("Check reports %v", err) })
			return err
		},
		func(i int) error {
			for _, err := range l.Scan("*/*") {
				if err != nil {
					return err
				}
				if _, err := l.Get("d/1"); err != nil && !errors.Is(err, storage.ErrNotFound) {
					return err
				}
			}
			return nil
		},
	}
	for n, call := range calls {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				err := call(i)
				if err != nil && !errors.Is(err, storage.ErrNotActive) && !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("call %d: %v", n, err)
					return
				}
			}
		})
	}
	within(t, "Start and Close", func() {
		for range 30 {
			if err := l.Start(storage.LayerOptions{}); err != nil {
				t.Error(err)
				return
			}
			if err := l.Set("round/1", &meta.Object{Data: []byte("1")}); err != nil {
				t.Error(err)
			}
			var closers sync.WaitGroup
			for range 2 {
				closers.Go(l.Close)
			}
			closers.Wait()
		}
	})
	close(stop)
	group.Wait()
}

// A write is before a clear as a whole or behind it: of two writes in order, the second
// is not removed by a clear that the first survives.
func TestClearAmongWriters(t *testing.T) {
	l := started(t, newMemDisk().layer(t, Options{WriteBuffer: smallBuffer}))
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("many/%d", i))
	}
	var done atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; !done.Load(); i++ {
			set(t, l, fmt.Sprintf("first/%d", i), "second")
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
	if got := keys(t, l); len(got) > 0 {
		t.Errorf("after the last Clear there is %q", got)
	}
}
