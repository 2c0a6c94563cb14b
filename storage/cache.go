package storage

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/oolith-db/oolith/internal/secondchance"
	"github.com/oolith-db/oolith/internal/tally"
	"github.com/oolith-db/oolith/meta"
)

// The cache mode.
//
// Reads that miss fill the cache from the persistent layer, while commits change both. The
// rules that keep this exact:
//
//   - From before its commit to after it, the cache does not hold a key that a commit
//     changes, nor may a read fill it. So such reads go to the persistent layer, and the instant
//     of its commit is the instant of the change for point reads and lists alike.
//   - A fill whose read began before a commit of its key changed anything is dropped: it
//     never overwrites or resurrects.
//
// What a commit wrote takes the place of what the cache held, and comes into it by no other way than a read: what
// nobody reads makes nothing else go.

// defaultCacheBytes is what LayerOptions.CacheBytes is when it is zero.
const defaultCacheBytes = 64 << 20

// cache is the memory of a store in the cache mode.
type cache struct {
	objects      *secondchance.Cache
	limit        int64
	fills        fillGuard
	hits, misses tally.Counter // readers on different processors do not meet in them
}

func newCache(limit int64) (*cache, error) {
	switch {
	case limit < 0:
		return nil, fmt.Errorf("%w: CacheBytes is %d, expected 0 or more", ErrInvalidOptions, limit)
	case limit == 0:
		limit = defaultCacheBytes
	}
	return &cache{objects: secondchance.New(limit), limit: limit}, nil
}

// hide takes the keys of a group's changes out of the cache, and lets none in until unhide. It marks those that
// were there.
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

// hidePaths is hide of keys that are deleted.
func (c *cache) hidePaths(paths []string) (unhide func()) {
	unhide = c.fills.commit(paths...)
	for _, path := range paths {
		c.objects.Remove(path)
	}
	return unhide
}

// hideAll is hide of everything.
func (c *cache) hideAll() (unhide func()) {
	unhide = c.fills.commit()
	c.objects.Clear()
	return unhide
}

// get returns what the cache holds at a path and is not expired, and counts whether it did.
func (c *cache) get(path string) (meta.Object, bool) {
	obj, ok := c.objects.Get(path)
	if !ok || expired(obj.Expires) {
		c.misses.Inc()
		return meta.Object{}, false
	}
	c.hits.Inc()
	return *obj, true
}

// apply puts what a group wrote into the place of what was there before. The keys are hidden.
func (c *cache) apply(leaves []*write) {
	for _, w := range leaves {
		switch {
		case w.err != nil:
		case w.stores():
			// Of several writes of one key only the first found what was there.
			if c.objects.Remove(w.object.Path) || w.cached {
				w.stored = c.objects.Put(w.object)
			}
		default:
			c.objects.Remove(w.path)
		}
	}
}

// The guard knows keys by hash only: two that share a slot cost each other a fill now and then, never a wrong answer.

const fillSlots = 256

// fillGuard decides which reads may fill memory. The zero value is ready.
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

// begin is called before the persistent layer is read.
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

// commit marks the slots of paths (all slots for none) as under change, until done is called.
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
