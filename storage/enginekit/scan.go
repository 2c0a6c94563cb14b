package enginekit

import (
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/oolith-db/oolith/meta"
)

// A scan reads ahead in chunks, so no lock is held while the caller's code runs. Chunks grow, because many callers want
// only the first few objects.
const (
	// FirstChunk is the number of objects in the first chunk.
	FirstChunk = 16
	// MaxChunk is the maximum number of objects in a chunk.
	MaxChunk = 512
	// MaxChunkBytes is the amount of data, in bytes, at which a chunk ends even with fewer objects.
	MaxChunkBytes = 1 << 20
)

// Reader is a scan in progress, for one loop. It is not safe for concurrent use.
type Reader interface {
	// Read appends the next objects to chunk, up to a length of limit, and reports whether there are more. Appended
	// objects are valid even with an error.
	Read(chunk []meta.Object, limit int) (_ []meta.Object, more bool, err error)
	// End releases the resources of the scan. It is called once, however the loop ends.
	End()
}

// firstChunks are reused. Most scans need only one and take a few microseconds.
var firstChunks = sync.Pool{New: func() any { return new([FirstChunk]meta.Object) }}

// Scan returns the loop over a scan. Each loop begins a new scan with open. If there is an error, the loop yields it
// last.
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

// Fill implements the Read of a Reader. It appends the results of next until the chunk is full, by number or by bytes,
// or there are no more objects. next sets the whole object if it finds one. If next panics, the objects found before
// stay in the chunk.
func Fill(chunk *[]meta.Object, limit int, next func(obj *meta.Object) (found bool, err error)) (more bool, err error) {
	for size := 0; len(*chunk) < limit && size < MaxChunkBytes; {
		n := len(*chunk)
		*chunk = slices.Grow(*chunk, 1)
		obj := &(*chunk)[:n+1][n] // in its final position, which avoids a copy
		if found, err := next(obj); err != nil || !found {
			return false, err
		}
		*chunk = (*chunk)[:n+1]
		size += len(obj.Data)
	}
	return true, nil
}

// Scanning describes in an error where a scan was. last is the path that it read last; empty if there is none.
func Scanning(last string) string {
	if last == "" {
		return "scan at its first key"
	}
	return fmt.Sprintf("scan after key %q", last)
}

// Scans are the scans in progress on an open database. Its Close ends them. The zero value has none. All methods may be
// called concurrently.
type Scans[S comparable] struct {
	// lock is taken after the locks of the engine. No lock of the engine is taken while it is held.
	lock sync.Mutex
	all  map[S]struct{}
}

// Add adds a scan that has begun.
func (s *Scans[S]) Add(scan S) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.all == nil {
		s.all = make(map[S]struct{})
	}
	s.all[scan] = struct{}{}
}

// Remove removes a scan that has ended by itself.
func (s *Scans[S]) Remove(scan S) {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.all, scan)
}

// End calls end for each scan and removes it. The caller must make sure that none of them is in use, and that none is
// added.
func (s *Scans[S]) End(end func(scan S)) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for scan := range s.all {
		end(scan)
	}
	s.all = nil
}

// Len returns the number of scans.
func (s *Scans[S]) Len() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(s.all)
}
