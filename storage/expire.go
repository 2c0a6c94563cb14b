package storage

import (
	"container/heap"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// The removal of what is past its time to live.
//
// A read never returns an object whose time has come, whether or not it is removed yet. The
// expirer makes the removal: an ordered, durable change like any other, which
// happens only if the object is still expired when its turn comes.

const (
	// expiryPause is how long the expirer sleeps at most: a wall clock that is set forward
	// is noticed after it. It is also the pause after an error of the persistent layer.
	expiryPause = time.Minute
	// expiryBatch is how many removals are handed over at once.
	expiryBatch = 1000
)

// expired reports whether a time to live, in Unix nanoseconds, 0 for ever, has ended.
func expired(at int64) bool { return at != 0 && at <= time.Now().UnixNano() }

// expirer knows when which object expires. The zero value takes notes, and removes nothing
// before start: while the store loads there is no pipeline yet.
type expirer struct {
	mu     sync.Mutex // guards the fields below
	due    deadlines
	byPath map[string]*deadline
	timer  *time.Timer
	next   int64 // what timer is set to; 0 for nothing
	// running is true from start to close, and while writes are taken.
	running bool

	// sweep ends the search for what expires in a store whose lists come from the layer;
	// swept is closed with it. Both are nil elsewhere.
	sweep, swept chan struct{}
	unsure       atomic.Bool    // the search did not come to its end
	work         sync.WaitGroup // removals and the sweep
	remove       func(paths []string) error
	logger       *slog.Logger
}

// deadline is when an object expires.
type deadline struct {
	at    int64 // Unix nanoseconds
	path  string
	place int // in the heap
}

// add notes when an object expires, in place of what was noted before.
func (e *expirer) add(path string, at int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.byPath[path]; d != nil {
		d.at = at
		heap.Fix(&e.due, d.place)
	} else {
		if e.byPath == nil {
			e.byPath = make(map[string]*deadline)
		}
		d = &deadline{at: at, path: path}
		e.byPath[path] = d
		heap.Push(&e.due, d)
	}
	e.setLocked()
}

// drop forgets an object.
func (e *expirer) drop(path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
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

// len is how many objects are known to expire.
func (e *expirer) len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.due)
}

// gone reports whether an object that is known to expire has done so.
func (e *expirer) gone(path string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.byPath[path]
	return d != nil && expired(d.at)
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
	if !e.running || len(e.due) == 0 || e.next != 0 && e.next <= e.due[0].at {
		return
	}
	e.wakeLocked(min(time.Duration(e.due[0].at-time.Now().UnixNano()), expiryPause))
	e.next = e.due[0].at
}

func (e *expirer) wakeLocked(after time.Duration) {
	if e.timer != nil {
		e.timer.Stop()
	}
	e.timer = time.AfterFunc(max(after, 0), e.wake)
}

// wake removes what is due.
func (e *expirer) wake() {
	due, ok := e.takeDue()
	if !ok {
		return
	}
	defer e.work.Done()
	paths := make([]string, len(due))
	for i, d := range due {
		paths[i] = d.path
	}
	err := e.remove(paths)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next = 0
	switch {
	case !e.running:
	case err == nil:
		// What was removed is out of the books; what was not there, or is there for ever, goes.
		for _, d := range due {
			if now := e.byPath[d.path]; now != nil && now.at == d.at {
				heap.Remove(&e.due, now.place)
				delete(e.byPath, d.path)
			}
		}
		e.setLocked()
	case errors.Is(err, ErrWritesStopped), errors.Is(err, ErrNotActive):
		// Nothing can be removed before the next Start; reads show nothing expired.
		e.running = false
	default:
		e.logger.Error("oolith: expired objects could not be removed; they are tried again",
			slog.Int("objects", len(paths)), slog.Any("error", err))
		e.wakeLocked(expiryPause)
		e.next = time.Now().Add(expiryPause).UnixNano()
	}
}

// takeDue returns copies of what is due and counts the work. What is due stays in the books
// until its removal is committed.
func (e *expirer) takeDue() (due []deadline, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.running {
		return nil, false
	}
	now := time.Now().UnixNano()
	// A heap in array form: what is due is a subtree at its root.
	places := []int{0}
	for len(places) > 0 && len(due) < expiryBatch {
		place := places[0]
		places = places[1:]
		if place < len(e.due) && e.due[place].at <= now {
			due = append(due, *e.due[place])
			places = append(places, 2*place+1, 2*place+2)
		}
	}
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
	if e.sweep != nil {
		close(e.sweep)
	}
	e.mu.Unlock()
	e.work.Wait()
}

// deadlines is a heap.Interface with the next object to expire on top.
type deadlines []*deadline

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

// note takes in what a group changed: what expires, and what lists with a limit hold.
func (r *run) note(leaves []*write) {
	r.retained.note(leaves)
	for _, w := range leaves {
		switch {
		case w.err != nil:
		case w.stores() && w.object.Expires != 0:
			r.expiring.Store(true)
			r.expirer.add(w.object.Path, w.object.Expires)
		case r.expiring.Load():
			r.expirer.drop(w.target())
		}
	}
}

// forget takes in that objects are gone.
func (r *run) forget(paths []string) {
	if r.retained.tree != nil {
		r.retained.tree.DeleteAll(paths)
	}
	if r.expiring.Load() {
		for _, path := range paths {
			r.expirer.drop(path)
		}
	}
}

// forgetAll takes in that all objects are gone.
func (r *run) forgetAll() {
	if r.retained.tree != nil {
		r.retained.tree.Clear()
	}
	r.expirer.dropAll()
}

// startSweep looks for what expires, in the background, in a store that does not load
// its objects.
func (r *run) startSweep() {
	if _, ok := as[Scanner](r.layer); !ok {
		return // it cannot stream: what expires is known once it is written
	}
	e := &r.expirer
	e.sweep, e.swept = make(chan struct{}), make(chan struct{})
	e.work.Add(1)
	go func() {
		defer e.work.Done()
		defer close(e.swept)
		defer func() {
			if value := recover(); value != nil {
				e.unsure.Store(true)
				e.logger.Error("oolith: the search for expired objects panicked", slog.Any("panic", value))
			}
		}()
		r.runSweep()
	}()
}

// knowsExpiries reports whether the expirer knows all that expires in a store whose lists come
// from the layer. Of a layer that cannot stream it is never sure.
func (r *run) knowsExpiries() bool {
	return r.expirer.swept != nil && isClosed(r.expirer.swept) && !r.expirer.unsure.Load()
}

func (r *run) runSweep() {
	for obj, err := range Scan(r.layer, "") {
		if err != nil {
			if !errors.Is(err, ErrNotActive) {
				r.expirer.logger.Error("oolith: the search for expired objects ended", slog.Any("error", err))
			}
			r.expirer.unsure.Store(true)
			return
		}
		if isClosed(r.expirer.sweep) {
			return
		}
		if at := r.expiryOf(&obj); at != 0 {
			r.expiring.Store(true)
			// What was written since the scan began is in the books already, and newer.
			r.expirer.addIfUnknown(obj.Path, at)
		}
	}
}

// addIfUnknown is add for an object of which nothing is noted.
func (e *expirer) addIfUnknown(path string, at int64) {
	e.mu.Lock()
	known := e.byPath[path] != nil
	e.mu.Unlock()
	if !known {
		e.add(path, at)
	}
}
