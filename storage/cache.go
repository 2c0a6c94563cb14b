package storage

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/oolith-db/oolith/internal/secondchance"
	"github.com/oolith-db/oolith/internal/tally"
	"github.com/oolith-db/oolith/meta"
)

// Cache mode.
//
// A read that misses fills the cache from the persistent layer, while commits change both. Two rules keep the cache
// exact:
//
//   - From before its commit until after it, the cache holds no key that the commit changes, and no read fills such
//     a key. Reads of these keys go to the persistent layer. Its commit is the instant of the change for point reads
//     and lists alike.
//   - A fill is dropped if a commit of its key made a change since the read began. A fill never overwrites newer
//     data and never brings back a deleted object.
//
// A commit updates what the cache already holds. Only reads add objects, so data that nobody reads evicts nothing.

// defaultCacheBytes is the default of LayerOptions.CacheBytes.
const defaultCacheBytes = 64 << 20

// cache is the memory of a store in cache mode.
type cache struct {
	objects      *secondchance.Cache
	limit        int64
	fills        fillGuard
	hits, misses tally.Counter // readers on different processors do not contend for them
}

func newCache(limit int64) (*cache, error) {
	switch {
	case limit < 0:
		return nil, fmt.Errorf("%w, CacheBytes is %d, expected 0 or more", ErrInvalidOptions, limit)
	case limit == 0:
		limit = defaultCacheBytes
	}
	return &cache{objects: secondchance.New(limit), limit: limit}, nil
}

// hide removes the keys of a group's changes from the cache and keeps them out until unhide. It marks the keys that
// were cached.
func (c *cache) hide(leaves []*write) (unhide func()) {
	paths := make([]string, 0, len(leaves))
	for _, w := range leaves {
		if w.err == nil {
			paths = append(paths, w.target())
		}
	}
	unhide = c.fills.commit(paths...)
	for _, w := range leaves {
		if w.err == nil {
			w.cached = c.objects.Remove(w.target())
		}
	}
	return unhide
}

// hidePaths is hide for deleted keys.
func (c *cache) hidePaths(paths []string) (unhide func()) {
	unhide = c.fills.commit(paths...)
	for _, path := range paths {
		c.objects.Remove(path)
	}
	return unhide
}

// hideAll is hide for all keys.
func (c *cache) hideAll() (unhide func()) {
	unhide = c.fills.commit()
	c.objects.Clear()
	return unhide
}

// get returns the cached object at a path unless it has expired, and counts the hit or the miss.
func (c *cache) get(path string) (meta.Object, bool) {
	obj, ok := c.objects.Get(path)
	if !ok || expired(obj.Expires) {
		c.misses.Inc()
		return meta.Object{}, false
	}
	c.hits.Inc()
	return *obj, true
}

// apply updates the cached objects that a group wrote. The keys are hidden.
func (c *cache) apply(leaves []*write) {
	for _, w := range leaves {
		switch {
		case w.err != nil:
		case w.stores():
			// If a group writes a key several times, only the first write found the cached object.
			if c.objects.Remove(w.object.Path) || w.cached {
				w.stored = c.objects.Put(w.object)
			}
		default:
			c.objects.Remove(w.path)
		}
	}
}

// The guard knows keys by hash only. Two keys that share a slot can cost each other a fill, but never a wrong answer.

const fillSlots = 256

// fillGuard decides which reads may fill the cache. The zero value is ready to use.
type fillGuard struct {
	once  sync.Once
	seed  maphash.Seed
	slots [fillSlots]fillSlot
}

type fillSlot struct {
	mu      sync.Mutex // guards the fields below
	commits int        // under way for keys of this slot
	version uint64     // of the slot's keys: changed by each commit
}

// ticket is a read that may become a fill.
type ticket struct {
	slot    *fillSlot
	version uint64
	valid   bool
}

func (g *fillGuard) slot(path string) *fillSlot {
	g.once.Do(func() { g.seed = maphash.MakeSeed() })
	return &g.slots[maphash.String(g.seed, path)%fillSlots]
}

// begin must be called before the read of the persistent layer.
func (g *fillGuard) begin(path string) ticket {
	s := g.slot(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	return ticket{slot: s, version: s.version, valid: s.commits == 0}
}

// fill calls put unless a commit of the slot began since the ticket was taken.
func (g *fillGuard) fill(t ticket, put func()) {
	t.slot.mu.Lock()
	defer t.slot.mu.Unlock()
	if t.valid && t.slot.commits == 0 && t.slot.version == t.version {
		put()
	}
}

// commit marks the slots of paths (all slots if there are none) as changing, until done is called.
func (g *fillGuard) commit(paths ...string) (done func()) {
	slots := make([]*fillSlot, 0, max(len(paths), 1))
	for _, path := range paths {
		slots = append(slots, g.slot(path))
	}
	if len(paths) == 0 {
		for i := range g.slots {
			slots = append(slots, &g.slots[i])
		}
	}
	mark := func(commits int) {
		for _, s := range slots {
			s.mu.Lock()
			s.commits += commits
			s.version++
			s.mu.Unlock()
		}
	}
	mark(1)
	return func() { mark(-1) }
}
