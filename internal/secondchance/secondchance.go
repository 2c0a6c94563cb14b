// Package secondchance is a cache of objects by path, bounded by a number of bytes.
//
// A new object enters a queue. At the end of the queue it is evicted, unless it was read since it entered or last
// reached the end; then it gets a second chance. For objects that are read repeatedly this is as good as tracking the
// order of all reads. A read takes no lock: it only sets a bit if it is not set yet.
package secondchance

import (
	"container/list"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Overhead is roughly the size of an object besides its path and data, in bytes.
const Overhead = 256

// mostChances is how many objects get another chance for one eviction. It limits how long a write waits.
const mostChances = 64

// Cache holds objects by path. All methods may be called concurrently.
type Cache struct {
	limit     int64
	items     *xsync.Map[string, *item]
	evictions atomic.Uint64
	data      atomic.Int64 // bytes of the data of all objects

	mu    sync.Mutex // guards the fields below, and all changes of items
	queue *list.List // of *item, the next candidate in front
	size  int64
}

// item is an object of the cache. All fields except used are immutable.
type item struct {
	object meta.Object
	used   atomic.Bool // read since it last reached the end of the queue
	place  *list.Element
}

func (i *item) size() int64 { return int64(Overhead + len(i.object.Path) + cap(i.object.Data)) }

// New returns an empty cache of at most about limit bytes.
func New(limit int64) *Cache {
	return &Cache{limit: limit, items: xsync.NewMap[string, *item](), queue: list.New()}
}

// Get returns the object at a path, shared and read-only.
func (c *Cache) Get(path string) (*meta.Object, bool) {
	i, ok := c.items.Load(path)
	if !ok {
		return nil, false
	}
	if !i.used.Load() {
		i.used.Store(true)
	}
	return &i.object, true
}

// Peek is Get without marking the object as read.
func (c *Cache) Peek(path string) (*meta.Object, bool) {
	i, ok := c.items.Load(path)
	if !ok {
		return nil, false
	}
	return &i.object, true
}

// Put stores an object at obj.Path and returns it as stored, shared and read-only. If the object is larger than the
// limit, Put does not store it, but still removes the earlier one. The cache keeps obj.Data.
func (c *Cache) Put(obj meta.Object) *meta.Object {
	obj.Path = strings.Clone(obj.Path) // the caller's may reference a larger string
	obj.Index = key.LastIndex(obj.Path)
	i := &item{object: obj}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(obj.Path)
	if i.size() > c.limit {
		return &i.object
	}
	for c.size+i.size() > c.limit {
		c.evictLocked()
	}
	i.place = c.queue.PushBack(i)
	c.items.Store(obj.Path, i)
	c.size += i.size()
	c.data.Add(int64(len(obj.Data)))
	return &i.object
}

// Remove removes the object at a path and reports whether there was one.
func (c *Cache) Remove(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removeLocked(path)
}

// Clear removes everything.
func (c *Cache) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items.Clear()
	c.queue.Init()
	c.size = 0
	c.data.Store(0)
}

func (c *Cache) removeLocked(path string) bool {
	i, ok := c.items.LoadAndDelete(path)
	if ok {
		c.queue.Remove(i.place)
		c.size -= i.size()
		c.data.Add(-int64(len(i.object.Data)))
	}
	return ok
}

// evictLocked evicts an object. The cache is not empty.
func (c *Cache) evictLocked() {
	for range mostChances {
		i := c.queue.Front().Value.(*item)
		if !i.used.Load() {
			break
		}
		i.used.Store(false)
		c.queue.MoveToBack(i.place)
	}
	c.removeLocked(c.queue.Front().Value.(*item).object.Path)
	c.evictions.Add(1)
}

// Len returns the number of objects.
func (c *Cache) Len() int { return c.items.Size() }

// Data returns the bytes of data of all objects.
func (c *Cache) Data() int64 { return c.data.Load() }

// Size returns roughly how many bytes the cache takes.
func (c *Cache) Size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

// Evictions returns how many objects were evicted.
func (c *Cache) Evictions() uint64 { return c.evictions.Load() }
