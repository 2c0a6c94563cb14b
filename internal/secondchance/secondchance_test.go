package secondchance

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/meta"
)

func object(n, size int) meta.Object {
	return meta.Object{Path: fmt.Sprintf("d/%04d", n), Data: bytes.Repeat([]byte{byte(n)}, size), Revision: uint64(n)}
}

// check verifies that what is counted is there.
func (c *Cache) check(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var size, data int64
	for e := c.queue.Front(); e != nil; e = e.Next() {
		i := e.Value.(*item)
		if known, ok := c.items.Load(i.object.Path); !ok || known != i || i.place != e {
			t.Fatalf("%s is in the queue, and another one or none in the map", i.object.Path)
		}
		size += i.size()
		data += int64(len(i.object.Data))
	}
	if c.queue.Len() != c.items.Size() || size != c.size || data != c.data.Load() || size > c.limit {
		t.Fatalf("%d in the queue, %d in the map; %d bytes, counted %d, at most %d; %d of data, counted %d",
			c.queue.Len(), c.items.Size(), size, c.size, c.limit, data, c.data.Load())
	}
}

// TestAgainstModel has what a map has, or nothing, and never more than its limit.
func TestAgainstModel(t *testing.T) {
	r := testrand.New(t)
	c := New(20 * (Overhead + 100))
	model := make(map[string]*meta.Object)
	for step := range 100_000 {
		obj := object(r.IntN(60), r.IntN(300))
		switch r.IntN(10) {
		case 0, 1, 2, 3:
			model[obj.Path] = c.Put(obj)
		case 4:
			if got, want := c.Remove(obj.Path), model[obj.Path] != nil; got && !want {
				t.Fatalf("step %d: Remove of what is not there = true", step)
			}
			delete(model, obj.Path)
		case 5:
			if r.IntN(100) == 0 {
				c.Clear()
				clear(model)
			}
		default:
			read := c.Get
			if r.IntN(3) == 0 {
				read = c.Peek
			}
			if got, ok := read(obj.Path); ok && got != model[obj.Path] {
				t.Fatalf("step %d: %s is another object than the last", step, obj.Path)
			}
		}
		if step%1000 == 0 {
			c.check(t)
		}
	}
	c.check(t)
	if c.Evictions() == 0 {
		t.Error("nothing was evicted")
	}
}

// TestWhatIsReadStays reads some objects again and again while ten times as many go through.
func TestWhatIsReadStays(t *testing.T) {
	const hot, room = 10, 100
	c := New(room * (Overhead + 16))
	for n := range hot {
		c.Put(object(n, 10))
	}
	for n := range 10 * room {
		c.Put(object(1000+n, 10))
		if obj, ok := c.Get(object(n%hot, 0).Path); !ok || obj.Revision != uint64(n%hot) {
			t.Fatalf("object %d is gone after %d others went in", n%hot, n)
		}
	}
	if c.Len() != room || c.Evictions() != 9*room+hot {
		t.Errorf("%d objects, %d evictions, want %d and %d", c.Len(), c.Evictions(), room, 9*room+hot)
	}
}

// TestEvictionIsBounded counts what one eviction looks at where all was read.
func TestEvictionIsBounded(t *testing.T) {
	for _, room := range []int{1000, 4000} {
		c := New(int64(room) * (Overhead + 16))
		for n := range room {
			c.Put(object(n, 10))
			c.Get(object(n, 0).Path)
		}
		c.Put(object(room, 10))
		unread := 0
		for e := c.queue.Front(); e != nil; e = e.Next() {
			if !e.Value.(*item).used.Load() {
				unread++
			}
		}
		if unread != mostChances+1 { // and the new one
			t.Errorf("of %d objects that were read %d had their second chance, want %d", room, unread-1, mostChances)
		}
		c.check(t)
	}
}

func TestWhatIsTooLarge(t *testing.T) {
	c := New(1000)
	c.Put(object(1, 10))
	c.Put(object(2, 10))
	if obj := c.Put(object(1, 2000)); obj.Revision != 1 || len(obj.Data) != 2000 {
		t.Errorf("Put returns %v", obj)
	}
	if _, ok := c.Get(object(1, 0).Path); ok {
		t.Error("what is too large is held, or what was there before")
	}
	if _, ok := c.Get(object(2, 0).Path); !ok || c.Evictions() != 0 {
		t.Error("what is too large took the place of another one")
	}
	c.check(t)
}

func TestFromManyGoroutines(t *testing.T) {
	c := New(50 * Overhead)
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 20_000 {
				obj := object((i*7+g)%100, 10)
				switch i % 5 {
				case 0:
					c.Put(obj)
				case 1:
					c.Remove(obj.Path)
				default:
					if got, ok := c.Get(obj.Path); ok && (got.Path != obj.Path || got.Revision != obj.Revision) {
						t.Errorf("%s is %v", obj.Path, got)
					}
				}
			}
		})
	}
	group.Wait()
	c.check(t)
}
