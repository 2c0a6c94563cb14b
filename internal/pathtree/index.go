package pathtree

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync/atomic"
)

// index finds versions by their path. It is a hash table that any number of readers search without a lock while one
// writer at a time changes it. With a single writer it is smaller and faster than a map with concurrent writers: a slot
// points directly to the version. An overwrite is then the store of one pointer, and a lookup reads the bucket, the
// version and the bytes of its path.
//
// The buckets are one cache line each, with a byte of every key's hash in front. They follow CLHT (David, Guerraoui,
// Trigonakis: "Asynchronized Concurrency", ASPLOS 2015), with the comparison of all bytes at once from Abseil's Swiss
// tables.
//
// A table that has become too small or too large is replaced by another one, to which each change moves some buckets.
// Every version is always in at least one of them: it is in the new table before it leaves the old one. Readers search
// the old table, then the new one, and search again if another table has replaced the one that they searched.
type index struct {
	table atomic.Pointer[table]
	count atomic.Int64
	moved int // buckets of table.from that are already empty; only the writer uses it
}

// table is a power of two of buckets.
type table struct {
	buckets []bucket
	// from is the table that is being moved into this one; nil if there is none.
	from atomic.Pointer[table]
}

const (
	slots = 6
	// A table grows when it has more than full versions for each bucket. It shrinks to a quarter when it has less than
	// an eighth of that.
	full = 4
	// movesPerChange is how many buckets a change moves. One would be enough to finish before the next resize.
	movesPerChange = 2
	// fewest is the number of buckets of the smallest table.
	fewest = 8
)

// bucket is one cache line on 64 bits.
type bucket struct {
	// tags has a byte for each slot: the tag of the version's hash, 0 while the slot is free. A slot is filled before
	// its tag is set. It may be empty although its tag is set.
	tags atomic.Uint64
	slot [slots]atomic.Pointer[Version]
	next atomic.Pointer[bucket] // overflow bucket; nil mostly
}

var seed = maphash.MakeSeed()

func hashOf(path string) uint64 { return maphash.String(seed, path) }

// tagOf returns the part of a hash that a bucket stores; never 0.
func tagOf(hash uint64) uint64 { return hash>>57 | 0x80 }

// candidates returns a bit in each byte of a bucket's tags that equals tag, and rarely in another byte.
func candidates(tags, tag uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x0000808080808080 // the upper two bytes are not slots
	different := tags ^ tag*ones
	return (different - ones) &^ different & highs
}

// slotOf returns the slot of the lowest bit of candidates.
func slotOf(candidates uint64) int { return bits.TrailingZeros64(candidates) / 8 }

func newTable(buckets int) *table { return &table{buckets: make([]bucket, buckets)} }

// init allocates the table for a number of versions.
func (x *index) init(size int) {
	buckets := fewest
	for buckets*full < size {
		buckets *= 2
	}
	x.table.Store(newTable(buckets))
}

// size returns the number of versions.
func (x *index) size() int { return int(x.count.Load()) }

// load returns the version at a path, nil if there is none.
//
// It repeats the code of find: with a call of it, a lookup that misses the caches takes 1.5 times as long.
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

// search is load while one table replaces another.
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

// store puts a version at its path, and replaces old, which is the stored version; nil if there is none. Only the
// writer calls it.
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
		// Into the new table first, so readers always find one of them.
		t.from.Load().drop(old, hash)
		return
	}
	if x.count.Add(1) > int64(len(t.buckets)*full) {
		x.resize(len(t.buckets) * 2)
	}
}

// remove removes a stored version. Only the writer calls it.
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

// resize starts to move everything to a table of another size.
func (x *index) resize(buckets int) {
	x.move(math.MaxInt) // the rest of the previous move
	t := newTable(buckets)
	t.from.Store(x.table.Load())
	x.moved = 0
	x.table.Store(t)
}

// move moves n buckets of the old table, if there is one.
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

// slotWith returns the slot of a version, or a nil bucket if it is not in the table.
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

// replace replaces a version by another one of its path, if it is in the table.
func (t *table) replace(old, v *Version, hash uint64) bool {
	b, i := t.slotWith(old, hash)
	if b == nil {
		return false
	}
	b.slot[i].Store(v)
	return true
}

// drop removes a version, if it is in the table.
func (t *table) drop(v *Version, hash uint64) bool {
	b, i := t.slotWith(v, hash)
	if b == nil {
		return false
	}
	b.slot[i].Store(nil)
	b.tags.Store(b.tags.Load() &^ (0xff << (8 * i)))
	return true
}
