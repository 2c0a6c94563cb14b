package pathtree

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync/atomic"
)

// index finds versions by their path: a hash table that any number of readers search without a lock
// while one writer at a time changes it. That there is one writer is what makes it smaller and
// quicker than a map for everybody: a slot points at the version itself, so that an overwrite is the
// store of one pointer, and a look-up meets the bucket, the version and the bytes of its path.
//
// The buckets of a cache line each, with a byte of every key's hash in front, are those of
// CLHT (David, Guerraoui, Trigonakis: "Asynchronized Concurrency", ASPLOS 2015) with the comparison of
// all bytes at once of Abseil's Swiss tables.
//
// A table that has become too small or too large is replaced by another one, to which each
// change moves some buckets. What a reader must find is at all times in one of them: it
// is in the new table before it leaves the old one, and readers search in the order old, new, and once
// more when a table took the place of the one that they searched.
type index struct {
	table atomic.Pointer[table]
	count atomic.Int64
	moved int // buckets of table.from that are empty; only the writer uses it
}

// table is a power of two of buckets.
type table struct {
	buckets []bucket
	// from is the table that is being emptied into this one, nil for none.
	from atomic.Pointer[table]
}

const (
	slots = 6
	// A table grows when it has more than full versions for each bucket, and shrinks to a quarter
	// when it has less than an eighth of that.
	full = 4
	// movesPerChange is how many buckets a change moves. One would do to be done before the
	// next table is due.
	movesPerChange = 2
	// fewest is the number of buckets of the smallest table.
	fewest = 8
)

// bucket is one cache line on 64 bits.
type bucket struct {
	// tags has a byte for each slot: the tag of the version's hash, 0 while the slot is free. A slot
	// is filled before it is tagged; it may be empty though its tag is set.
	tags atomic.Uint64
	slot [slots]atomic.Pointer[Version]
	next atomic.Pointer[bucket] // more of the same; nil mostly
}

var seed = maphash.MakeSeed()

func hashOf(path string) uint64 { return maphash.String(seed, path) }

// tagOf is the part of a hash that stands in a bucket; never 0.
func tagOf(hash uint64) uint64 { return hash>>57 | 0x80 }

// candidates returns a bit in each byte of a bucket's tags that is a tag, and seldom in another one.
func candidates(tags, tag uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x0000808080808080 // the upper two bytes are no slots
	different := tags ^ tag*ones
	return (different - ones) &^ different & highs
}

// slotOf is the slot of the lowest bit of candidates.
func slotOf(candidates uint64) int { return bits.TrailingZeros64(candidates) / 8 }

func newTable(buckets int) *table { return &table{buckets: make([]bucket, buckets)} }

// init makes room for a number of versions.
func (x *index) init(size int) {
	buckets := fewest
	for buckets*full < size {
		buckets *= 2
	}
	x.table.Store(newTable(buckets))
}

// size returns the number of versions.
func (x *index) size() int { return int(x.count.Load()) }

// load returns the version at a path, nil for none.
//
// It says again what find says, since with a call of it, whatever the compiler and the processor make of that, a
// look-up that misses the caches takes half as long again.
func (x *index) load(path string) *Version {
	hash := hashOf(path)
	tag := tagOf(hash)
	t := x.table.Load()
	if t.from.Load() == nil {
		for b := t.home(hash); b != nil; b = b.next.Load() {
			for c := candidates(b.tags.Load(), tag); c != 0; c &= c - 1 {
				if v := b.slot[slotOf(c)].Load(); v != nil && v.Path() == path {
					return v
				}
			}
		}
		if x.table.Load() == t {
			return nil
		}
	}
	return x.search(path, hash)
}

// loadAt is load for a path whose hash is known.
func (x *index) loadAt(hash uint64, path string) *Version {
	t := x.table.Load()
	if t.from.Load() == nil {
		if v := t.find(path, hash); v != nil || x.table.Load() == t {
			return v
		}
	}
	return x.search(path, hash)
}

// search is load while a table takes the place of another.
func (x *index) search(path string, hash uint64) *Version {
	for {
		t := x.table.Load()
		if from := t.from.Load(); from != nil {
			if v := from.find(path, hash); v != nil {
				return v
			}
		}
		if v := t.find(path, hash); v != nil {
			return v
		}
		if x.table.Load() == t {
			return nil
		}
	}
}

func (t *table) home(hash uint64) *bucket {
	return &t.buckets[hash&uint64(len(t.buckets)-1)]
}

func (t *table) find(path string, hash uint64) *Version {
	tag := tagOf(hash)
	for b := t.home(hash); b != nil; b = b.next.Load() {
		for c := candidates(b.tags.Load(), tag); c != 0; c &= c - 1 {
			if v := b.slot[slotOf(c)].Load(); v != nil && v.Path() == path {
				return v
			}
		}
	}
	return nil
}

// store puts a version at its path, in place of old, which is what is there; nil for nothing. It is the writer's.
func (x *index) store(old, v *Version) { x.storeAt(hashOf(v.Path()), old, v) }

// storeAt is store for a path whose hash is known.
func (x *index) storeAt(hash uint64, old, v *Version) {
	x.move(movesPerChange)
	t := x.table.Load()
	if old != nil && t.replace(old, v, hash) {
		return
	}
	t.add(v, hash)
	if old != nil {
		// In the new table first: there is no moment when readers find neither.
		t.from.Load().drop(old, hash)
		return
	}
	if x.count.Add(1) > int64(len(t.buckets)*full) {
		x.resize(len(t.buckets) * 2)
	}
}

// remove removes a version that is there. It is the writer's.
func (x *index) remove(v *Version) {
	x.move(movesPerChange)
	t := x.table.Load()
	hash := hashOf(v.Path())
	if !t.drop(v, hash) {
		t.from.Load().drop(v, hash)
	}
	if x.count.Add(-1) < int64(len(t.buckets)*full/8) && len(t.buckets) > fewest {
		x.resize(max(fewest, len(t.buckets)/4))
	}
}

// resize begins to move everything to a table of another size.
func (x *index) resize(buckets int) {
	x.move(math.MaxInt) // what is left of the move before
	t := newTable(buckets)
	t.from.Store(x.table.Load())
	x.moved = 0
	x.table.Store(t)
}

// move moves n buckets of the table that is being emptied, if there is one.
func (x *index) move(n int) {
	t := x.table.Load()
	from := t.from.Load()
	if from == nil {
		return
	}
	for ; n > 0 && x.moved < len(from.buckets); n-- {
		for b := &from.buckets[x.moved]; b != nil; b = b.next.Load() {
			for i := range b.slot {
				if v := b.slot[i].Load(); v != nil {
					t.add(v, hashOf(v.Path()))
					b.slot[i].Store(nil)
				}
			}
		}
		x.moved++
	}
	if x.moved == len(from.buckets) {
		t.from.Store(nil)
	}
}

// add puts a version into a free slot.
func (t *table) add(v *Version, hash uint64) {
	tag := tagOf(hash)
	b := t.home(hash)
	for {
		tags := b.tags.Load()
		if free := candidates(tags, 0); free != 0 {
			i := slotOf(free)
			b.slot[i].Store(v)
			b.tags.Store(tags | tag<<(8*i))
			return
		}
		next := b.next.Load()
		if next == nil {
			next = new(bucket)
			next.slot[0].Store(v)
			next.tags.Store(tag)
			b.next.Store(next)
			return
		}
		b = next
	}
}

// slotWith returns the slot that a version is in; no bucket when it is in none.
func (t *table) slotWith(v *Version, hash uint64) (b *bucket, i int) {
	for b := t.home(hash); b != nil; b = b.next.Load() {
		for i := range b.slot {
			if b.slot[i].Load() == v {
				return b, i
			}
		}
	}
	return nil, 0
}

// replace puts a version in the place of another one of its path, if that is there.
func (t *table) replace(old, v *Version, hash uint64) bool {
	b, i := t.slotWith(old, hash)
	if b == nil {
		return false
	}
	b.slot[i].Store(v)
	return true
}

// drop takes a version out, if it is there.
func (t *table) drop(v *Version, hash uint64) bool {
	b, i := t.slotWith(v, hash)
	if b == nil {
		return false
	}
	b.slot[i].Store(nil)
	b.tags.Store(b.tags.Load() &^ (0xff << (8 * i)))
	return true
}
