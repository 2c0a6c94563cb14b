package enginekit

import (
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/oolith-db/oolith/meta"
)

// A scan reads ahead in chunks, so that no lock is held while the caller's code runs.
// Chunks grow, because many callers want only the first few objects.
const (
	// FirstChunk is how many objects the first chunk has.
	FirstChunk = 16
	// MaxChunk is the most that one has.
	MaxChunk = 512
	// MaxChunkBytes is how much data a chunk has before it ends all the same.
	MaxChunkBytes = 1 << 20
)

// Reader is a scan that was begun, in one loop: it is not safe for concurrent use.
type Reader interface {
	// Read appends the next objects to chunk, at most so many that it has limit of them, and tells
	// whether there are more. What it appends counts also when it returns an error.
	Read(chunk []meta.Object, limit int) (_ []meta.Object, more bool, err error)
	// End gives up what the scan holds. It is called once, however the loop ends.
	End()
}

// firstChunks are used again: most scans need no other, and are done in a few microseconds.
var firstChunks = sync.Pool{New: func() any { return new([FirstChunk]meta.Object) }}

// Scan returns the loop over a scan that open begins when the loop does, and anew for each loop. An
// error is the last that it yields.
func Scan[R Reader](open func() (R, error)) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		r, err := open()
		if err != nil {
			yield(meta.Object{}, err)
			return
		}
		defer r.End()
		first := firstChunks.Get().(*[FirstChunk]meta.Object)
		defer func() {
			clear(first[:])
			firstChunks.Put(first)
		}()
		chunk := first[:0]
		for limit := FirstChunk; ; limit = min(2*limit, MaxChunk) {
			var more bool
			chunk, more, err = r.Read(chunk[:0], limit)
			for _, obj := range chunk {
				if !yield(obj, nil) {
					return
				}
			}
			if err != nil {
				yield(meta.Object{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// Fill is what a Reader's Read does: it appends what next finds until the chunk is full, by number or
// by bytes, or nothing more is found. Next sets the whole object when it finds one. What was found before a
// panic of next counts too.
func Fill(chunk *[]meta.Object, limit int, next func(obj *meta.Object) (found bool, err error)) (more bool, err error) {
	for size := 0; len(*chunk) < limit && size < MaxChunkBytes; {
		n := len(*chunk)
		*chunk = slices.Grow(*chunk, 1)
		obj := &(*chunk)[:n+1][n] // its place, so that it is not copied there
		if found, err := next(obj); err != nil || !found {
			return false, err
		}
		*chunk = (*chunk)[:n+1]
		size += len(obj.Data)
	}
	return true, nil
}

// Scanning says in an error where a scan was. The last path is the one that it read last, empty for
// none.
func Scanning(last string) string {
	if last == "" {
		return "scan at its first key"
	}
	return fmt.Sprintf("scan after key %q", last)
}

// Scans are the scans in progress on an open database, which its Close ends. The zero value has none.
// Its methods may be called from any number of goroutines.
type Scans[S comparable] struct {
	// lock is taken after the locks of the engine, none of which is taken while it is held.
	lock sync.Mutex
	all  map[S]struct{}
}

// Add notes a scan that has begun.
func (s *Scans[S]) Add(scan S) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.all == nil {
		s.all = make(map[S]struct{})
	}
	s.all[scan] = struct{}{}
}

// Remove forgets a scan that ends by itself.
func (s *Scans[S]) Remove(scan S) {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.all, scan)
}

// End calls end for each scan and forgets it. The caller sees to it that none of them is in use, and
// that none is added.
func (s *Scans[S]) End(end func(scan S)) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for scan := range s.all {
		end(scan)
	}
	s.all = nil
}

// Len is how many there are.
func (s *Scans[S]) Len() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(s.all)
}
