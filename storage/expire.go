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

// The removal of what is past its time to live.
//
// A read never returns an object whose time has come, whether or not it is removed yet. The
// expirer makes the removal: an ordered, durable change like any other, which
// happens only if the object is still expired when its turn comes. So a note of what is there no
// more does no harm.

const (
	// expiryPause is how long the expirer sleeps at most: a wall clock that is set forward
	// is noticed after it. It is also the pause after an error of the persistent layer.
	expiryPause = time.Minute
	// electionPause is the pause of a node of a shared engine that does not remove.
	electionPause = 100 * time.Millisecond
	// expiryBatch is how many removals are handed over at once.
	expiryBatch = 1000
)

// expired reports whether a time to live, in Unix nanoseconds, 0 for ever, has ended.
func expired(at int64) bool { return new(pathtree.Clock).Past(at) }

// errNotElected is what removes nothing on a node that another one removes for.
var errNotElected = errors.New("storage: another node removes what is expired")

// expirer knows when which object expires. The zero value takes notes, and removes nothing
// before start: while the store loads there is no pipeline yet.
type expirer struct {
	mu     sync.Mutex // guards the fields below
	due    deadlines
	byPath map[string]*deadline
	timer  *time.Timer
	next   int64 // what timer is set to; 0 for nothing
	pause  int64 // after an error: no removal before it
	// running is true from start to close, and while writes are taken.
	running  bool
	removing bool // a removal is under way, which sets the timer when it ends

	// quit ends the search for what expires in a store whose lists come from the layer; nil elsewhere.
	quit     chan struct{}
	searched atomic.Bool    // it came to its end
	work     sync.WaitGroup // the removal and the search
	remove   func(paths []string) error
	logger   *slog.Logger
}

// deadline is when an object expires.
type deadline struct {
	at    int64 // Unix nanoseconds
	own   int64 // by its own time to live, whatever the rules say; 0 for never
	path  string
	place int // in the heap
}

// add notes when an object expires, in place of what was noted before.
func (e *expirer) add(path string, at, own int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropLocked(path)
	e.addLocked(&deadline{at: at, own: own, path: path})
}

// learn is add for an object that a read or the search came upon: it may have been changed since.
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

// drop forgets an object.
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

// dropAll forgets all objects.
func (e *expirer) dropAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.due, e.byPath = nil, nil
}

// own is the end of an object's own time to live; 0 for never, and for an object that is not known.
func (e *expirer) own(path string) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.byPath[path]; d != nil {
		return d.own
	}
	return 0
}

// each calls visit with the path of each object that is expired at a time, until it returns false.
func (e *expirer) each(now int64, visit func(path string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.due.each(0, now, func(d *deadline) bool { return visit(d.path) })
}

// start begins to remove what expires. The pipeline is open.
func (e *expirer) start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = true
	e.setLocked()
}

// setLocked makes the timer wake when the next object expires.
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

// wake removes what is due.
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
		// Under no lock, and when nothing waits for this goroutine: the handler may use the store.
		e.logger.Error("oolith: expired objects could not be removed; they are tried again",
			slog.Int("objects", len(paths)), slog.Any("error", err))
	}
}

// removed takes in that a removal ended, and reports whether it is to be tried again.
func (e *expirer) removed(due []*deadline, err error) (again bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removing, e.next, e.pause = false, 0, 0
	switch {
	case !e.running:
		return false
	case err == nil:
		// What was removed is out of the books. What was not there goes; what has got a new
		// time, or is expired no more since the clock was set back, stays.
		now := time.Now().UnixNano()
		for _, d := range due {
			if e.byPath[d.path] == d && d.at <= now {
				e.dropLocked(d.path)
			}
		}
	case errors.Is(err, errNotElected), errors.Is(err, ErrUnavailable):
		// Another node removes it, or the engine is lost, of which others are told.
		e.pause = time.Now().Add(electionPause).UnixNano()
	case noMoreWrites(err):
		// Nothing can be removed before the next Start; reads show nothing expired.
		e.running = false
		return false
	default:
		again = true
		e.pause = time.Now().Add(expiryPause).UnixNano()
	}
	e.setLocked()
	return again
}

// takeDue returns what is due, the first to expire in front, and counts the work. It stays in the
// books until its removal is committed.
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

// close ends the expirer and returns when its goroutines have ended. The pipeline is closed.
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

// each visits what is due at a time, the subtree at a place and below, until visit returns false.
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

// removeExpired removes objects, those that are expired when their turn comes.
func (r *run) removeExpired(paths []string) error {
	if r.shared != nil && !r.shared.Elected() {
		return errNotElected
	}
	return r.removeAll(opExpire, paths)
}

// note takes in what a group changed: what expires, and what lists with a limit hold.
func (r *run) note(leaves []*write) {
	r.retained.note(leaves)
	for _, w := range leaves {
		if w.err == nil {
			r.noteOne(w)
		}
	}
}

// noteOne takes in what expires by a change.
func (r *run) noteOne(w *write) {
	switch {
	case w.stores() && w.object.Expires != 0:
		r.expiring.Store(true)
		r.expirer.add(w.object.Path, w.object.Expires, w.own)
	case r.expiring.Load():
		r.expirer.drop(w.target())
	}
}

// forget takes in that objects are gone.
func (r *run) forget(paths []string) {
	r.retained.forget(paths)
	if r.expiring.Load() {
		for _, path := range paths {
			r.expirer.drop(path)
		}
	}
}

// forgetAll takes in that all objects are gone.
func (r *run) forgetAll() {
	r.retained = retained{}
	r.expirer.dropAll()
}
