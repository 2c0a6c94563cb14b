package storage

import (
	"hash/maphash"
	"sync"
)

// The cache mode.
//
// Reads that miss fill memory from the persistent layer, while commits change both. The
// rules that keep this exact:
//
//   - From before its commit to after it, memory does not hold a key that a commit
//     changes, nor may a read fill it. So such reads go to the persistent layer, and the instant
//     of its commit is the instant of the change for point reads and lists alike.
//   - A fill whose read began before a commit of its key changed anything is dropped: it
//     never overwrites or resurrects.
//
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
