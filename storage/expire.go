package storage

import (
	"cmp"
	"container/heap"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/internal/pathtree"
)

// Removal of expired objects.
//
// Reads never return an expired object, whether or not it is removed yet. The expirer removes it with an ordered,
// durable change like any other. That change takes effect only if the object is still expired when its turn comes. An
// outdated entry in the expirer's heap is therefore harmless.

const (
	// expiryPause is the longest sleep of the expirer, so that it notices a wall clock that was set forward. It is
	// also the pause after an error of the persistent layer.
	expiryPause = time.Minute
	// electionPause is the pause on a node of a shared engine that is not elected to remove expired objects.
	electionPause = 100 * time.Millisecond
	// expiryBatch is the maximum number of removals in one call.
	expiryBatch = 1000
)

// expired reports whether a time to live, in Unix nanoseconds (0 for none), has ended.
func expired(at int64) bool { return new(pathtree.Clock).Past(at) }

// errNotElected means that another node removes expired objects.
var errNotElected = errors.New("storage: another node removes expired objects")

// expirer tracks when objects expire. The zero value takes entries but removes nothing until start: there is no
// pipeline while the store loads.
type expirer struct {
	mu     sync.Mutex // guards the fields below
	due    deadlines
	byPath map[string]*deadline
	timer  *time.Timer
	next   int64 // when the timer fires; 0 if it is not set
	pause  int64 // no removal before this time, after an error
	// running is true from start to close, unless writes are stopped.
	running  bool
	removing bool // a removal is in progress; it sets the timer when it ends

	// quit ends the background search for expiring objects; nil unless lists come from the layer.
	quit     chan struct{}
	searched atomic.Bool    // it came to its end
	work     sync.WaitGroup // the removal and the search
	remove   func(paths []string) error
	logger   *slog.Logger
}

// deadline is the time at which an object expires.
type deadline struct {
	at    int64 // Unix nanoseconds
	own   int64 // its own time to live, without retention rules; 0 for none
	path  string
	place int // index in the heap
}

// add records when an object expires, replacing an earlier entry.
func (e *expirer) add(path string, at, own int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropLocked(path)
	e.addLocked(&deadline{at: at, own: own, path: path})
}

// learn is add for an object found by a read or the search. The object may have changed since.
func (e *expirer) learn(path string, at int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byPath[path] == nil {
		e.addLocked(&deadline{at: at, own: at, path: path})
	}
}

func (e *expirer) addLocked(d *deadline) {
	if e.byPath == nil {
		e.byPath = make(map[string]*deadline)
	}
	e.byPath[d.path] = d
	heap.Push(&e.due, d)
	e.setLocked()
}

// drop removes the entry of an object.
func (e *expirer) drop(path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropLocked(path)
}

func (e *expirer) dropLocked(path string) {
	if d := e.byPath[path]; d != nil {
		heap.Remove(&e.due, d.place)
		delete(e.byPath, path)
	}
}

// dropAll removes all entries.
func (e *expirer) dropAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.due, e.byPath = nil, nil
}

// own returns the end of an object's own time to live; 0 if it has none or is unknown.
func (e *expirer) own(path string) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.byPath[path]; d != nil {
		return d.own
	}
	return 0
}

// each calls visit with the path of each object that has expired at a time, until visit returns false.
func (e *expirer) each(now int64, visit func(path string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.due.each(0, now, func(d *deadline) bool { return visit(d.path) })
}

// start starts the removal of expired objects. The pipeline is open.
func (e *expirer) start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = true
	e.setLocked()
}

// setLocked sets the timer to the time when the next object expires.
func (e *expirer) setLocked() {
	if !e.running || e.removing || len(e.due) == 0 {
		return
	}
	at := max(e.due[0].at, e.pause)
	if e.next != 0 && e.next <= at {
		return
	}
	e.next = at
	var after time.Duration
	if now := time.Now().UnixNano(); at > now {
		after = min(time.Duration(at-now), expiryPause)
	}
	if e.timer != nil {
		e.timer.Stop()
	}
	e.timer = time.AfterFunc(after, e.wake)
}

// wake removes the objects that are due.
func (e *expirer) wake() {
	due, ok := e.takeDue()
	if !ok {
		return
	}
	paths := make([]string, len(due))
	for i, d := range due {
		paths[i] = d.path
	}
	err := e.remove(paths)
	again := e.removed(due, err)
	e.work.Done()
	if again {
		// No lock is held here and nothing waits for this goroutine, so the log handler may use the store.
		e.logger.Error("oolith: expired objects could not be removed; they are tried again",
			slog.Int("objects", len(paths)), slog.Any("error", err))
	}
}

// removed processes the end of a removal and reports whether to try again.
func (e *expirer) removed(due []*deadline, err error) (again bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removing, e.next, e.pause = false, 0, 0
	switch {
	case !e.running:
		return false
	case err == nil:
		// Successful removals have left the heap. Entries of absent objects are removed here. Entries stay if the
		// object got a new time, or has not expired any more because the clock was set back.
		now := time.Now().UnixNano()
		for _, d := range due {
			if e.byPath[d.path] == d && d.at <= now {
				e.dropLocked(d.path)
			}
		}
	case errors.Is(err, errNotElected), errors.Is(err, ErrUnavailable):
		// Another node removes expired objects, or the engine is unavailable, which is reported elsewhere.
		e.pause = time.Now().Add(electionPause).UnixNano()
	case noMoreWrites(err):
		// No removal is possible before the next Start. Reads still hide expired objects.
		e.running = false
		return false
	default:
		again = true
		e.pause = time.Now().Add(expiryPause).UnixNano()
	}
	e.setLocked()
	return again
}

// takeDue returns the objects that are due, earliest first, and marks a removal as in progress. The entries stay in
// the heap until their removal is committed.
func (e *expirer) takeDue() (due []*deadline, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.running || e.removing {
		return nil, false
	}
	e.removing = true
	e.due.each(0, time.Now().UnixNano(), func(d *deadline) bool {
		due = append(due, d)
		return len(due) < expiryBatch
	})
	slices.SortFunc(due, func(a, b *deadline) int {
		return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.path, b.path))
	})
	e.work.Add(1)
	return due, true
}

// close stops the expirer and waits for its goroutines. The pipeline is closed.
func (e *expirer) close() {
	e.mu.Lock()
	e.running = false
	if e.timer != nil {
		e.timer.Stop()
	}
	if e.quit != nil {
		close(e.quit)
	}
	e.mu.Unlock()
	e.work.Wait()
}

// deadlines is a heap.Interface with the next object to expire on top.
type deadlines []*deadline

// each visits the entries that are due at a time, in the subtree at an index, until visit returns false.
func (d deadlines) each(place int, now int64, visit func(*deadline) bool) (more bool) {
	if place >= len(d) || d[place].at > now {
		return true
	}
	return visit(d[place]) && d.each(2*place+1, now, visit) && d.each(2*place+2, now, visit)
}

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at < d[j].at }

func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

func (d *deadlines) Push(x any) {
	last := x.(*deadline)
	last.place = len(*d)
	*d = append(*d, last)
}

func (d *deadlines) Pop() any {
	last := (*d)[len(*d)-1]
	(*d)[len(*d)-1] = nil
	*d = (*d)[:len(*d)-1]
	return last
}

// removeExpired removes those of the objects that are still expired when their turn comes.
func (r *run) removeExpired(paths []string) error {
	if r.shared != nil && !r.shared.Elected() {
		return errNotElected
	}
	return r.removeAll(opExpire, paths)
}

// note records the changes of a group: which objects expire, and the content of lists with a limit.
func (r *run) note(leaves []*write) {
	r.retained.note(leaves)
	for _, w := range leaves {
		if w.err == nil {
			r.noteOne(w)
		}
	}
}

// noteOne records the expiry of one change.
func (r *run) noteOne(w *write) {
	switch {
	case w.stores() && w.object.Expires != 0:
		r.expiring.Store(true)
		r.expirer.add(w.object.Path, w.object.Expires, w.own)
	case r.expiring.Load():
		r.expirer.drop(w.target())
	}
}

// forget records that objects are removed.
func (r *run) forget(paths []string) {
	r.retained.forget(paths)
	if r.expiring.Load() {
		for _, path := range paths {
			r.expirer.drop(path)
		}
	}
}

// forgetAll records that all objects are removed.
func (r *run) forgetAll() {
	r.retained = retained{}
	r.expirer.dropAll()
}
