package storage

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// The change log carries committed events from the pipeline to the watchers.
//
// The pipeline appends; that costs the same for one watcher and for a thousand. Watchers
// pull: each is a position in the log and a goroutine that runs its callback. One
// more goroutine, the dispatcher, wakes the watchers that wait, and moves the
// events of a watcher that lags far behind into a backlog of its own, where they
// coalesce. The log itself keeps nothing: it is a chain of chunks that only watchers
// point into, so that what all have read is garbage.

const (
	// chunkSize is how many events share an allocation.
	chunkSize = 256
	// logFold is how far a watcher may lag before its events move to its backlog.
	logFold = 4 * chunkSize
)

// chunk is a piece of the log. Only the pipeline writes to it; length publishes.
type chunk struct {
	first  uint64 // the place in the log of events[0]
	events [chunkSize]news
	length atomic.Int32
	next   atomic.Pointer[chunk]
}

// news is an event with what the backlog of a consumer needs to know of the change, or that alone.
type news struct {
	Event
	kind newsKind
}

type newsKind uint8

const (
	newsChange   newsKind = iota // an event
	newsCreation                 // an event, "set", of an object that was not there before
	// What follows is told to no consumer.
	newsGone     // the object at Key is gone, by a glob delete, which has an event of its own
	newsSilent   // the object at Key is gone, by DelSilent
	newsClearing // all objects are gone
)

func (n news) creates() bool { return n.kind == newsCreation }

// told reports whether the news is an event.
func (n news) told() bool { return n.kind <= newsCreation }

// addTo adds news to a backlog.
func (n news) addTo(b *backlog[news]) {
	switch n.kind {
	case newsGone:
		b.gone(n.Key, true)
	case newsSilent:
		b.gone(n.Key, false)
	case newsClearing:
		b.allGone()
	default:
		b.push(n)
	}
}

// changeLog is the log of one run of a store.
type changeLog struct {
	tail    atomic.Pointer[chunk] // nil while nobody watches
	signal  chan struct{}         // 1 token: something was appended
	lagged  atomic.Bool           // a watcher was past the limit of its backlog
	onPanic func(value any, stack []byte)
	// ended is closed by close, before the last events are delivered.
	ended chan struct{}

	mu       sync.Mutex // guards the fields below
	watchers map[*watcher]struct{}
	unneeded chan struct{} // closed when the dispatcher has nobody to wake any more
	closed   bool
	// coalesced counts for the watchers that are gone.
	coalesced uint64
}

func newChangeLog(onPanic func(value any, stack []byte)) *changeLog {
	return &changeLog{
		signal:   make(chan struct{}, 1),
		ended:    make(chan struct{}),
		watchers: make(map[*watcher]struct{}),
		onPanic:  onPanic,
	}
}

// watched reports whether anybody watches.
func (l *changeLog) watched() bool { return l.tail.Load() != nil }

// append adds an event. Only the leader of the pipeline calls it.
func (l *changeLog) append(e news) {
	tail := l.tail.Load()
	if tail == nil {
		return // the last watcher left
	}
	n := tail.length.Load()
	if n == chunkSize {
		next := &chunk{first: tail.first + chunkSize}
		tail.next.Store(next)
		if !l.tail.CompareAndSwap(tail, next) {
			return // the last watcher left, and perhaps another came
		}
		tail, n = next, 0
	}
	tail.events[n] = e
	tail.length.Store(n + 1)
}

// length is the number of events that were ever appended.
func (l *changeLog) length() uint64 {
	tail := l.tail.Load()
	return tail.first + uint64(tail.length.Load())
}

// flush tells the watchers that something was appended.
func (l *changeLog) flush() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// watch adds a watcher that sees every event from now on.
func (l *changeLog) watch(callback EventCallback) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return func() {}
	}
	if l.tail.Load() == nil {
		l.tail.Store(&chunk{})
		l.unneeded = make(chan struct{})
		go l.dispatch(l.unneeded)
	}
	w := &watcher{
		log:      l,
		callback: callback,
		signal:   make(chan struct{}, 1),
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	// An event that is appended at this moment may fall before or behind the position.
	w.chunk = l.tail.Load()
	w.next = w.chunk.length.Load()
	l.watchers[w] = struct{}{}
	go w.run()
	return w.stop
}

// dispatch wakes watchers until there are none, or the log is closed.
func (l *changeLog) dispatch(unneeded <-chan struct{}) {
	for {
		select {
		case <-l.signal:
		case <-unneeded:
			return
		case <-l.ended:
			return
		}
		l.mu.Lock()
		for w := range l.watchers {
			w.notify()
		}
		l.mu.Unlock()
	}
}

// close lets the watchers take what was appended, within a bounded time, and ends them.
// One whose callback does not return ends when it does.
func (l *changeLog) close() {
	l.mu.Lock()
	l.closed = true
	close(l.ended)
	watchers := make([]*watcher, 0, len(l.watchers))
	for w := range l.watchers {
		watchers = append(watchers, w)
	}
	l.mu.Unlock()

	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for _, w := range watchers {
			<-w.done
		}
	}()
	if !drain(drained, func() (sum uint64) {
		for _, w := range watchers {
			sum += w.delivered.Load()
		}
		return sum
	}) {
		for _, w := range watchers {
			w.stop()
		}
	}
}

// stats returns how many watchers there are, how far the last of them is behind, in
// events, and how many events were coalesced.
func (l *changeLog) stats() (watchers, lag int, coalesced uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	coalesced = l.coalesced
	for w := range l.watchers {
		behind, c := w.lag()
		lag = max(lag, behind)
		coalesced += c
	}
	return len(l.watchers), lag, coalesced
}

// watcher is a position in the log.
type watcher struct {
	log       *changeLog
	callback  EventCallback
	signal    chan struct{} // 1 token: look at the log again
	quit      chan struct{} // closed by stop
	done      chan struct{} // closed when run has ended
	delivered atomic.Uint64

	mu      sync.Mutex // guards the fields below; never held in the callback
	stopped bool
	missed  backlog[news] // comes before what the position points at
	chunk   *chunk        // the position: chunk.events[next]
	next    int32
}

// run delivers until stop, or until the log is closed and read.
func (w *watcher) run() {
	defer close(w.done)
	defer w.forget()
	for {
		// Asked before take: what was appended before the end is then seen.
		ended := isClosed(w.log.ended)
		if event, ok := w.take(); ok {
			w.call(event)
			continue
		}
		if ended {
			return
		}
		select {
		case <-w.signal:
		case <-w.log.ended:
		case <-w.quit:
			return
		}
	}
}

// take returns the next event, or false when there is none or the watcher is stopped.
func (w *watcher) take() (Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return Event{}, false
	}
	if event, ok := w.missed.first(); ok {
		w.missed.pop()
		return event.Event, true
	}
	if w.behind() > logFold {
		w.foldLocked()
		event, ok := w.missed.first()
		if ok {
			w.missed.pop()
		}
		return event.Event, ok
	}
	for {
		if event, ok := w.read(); !ok || event.told() {
			return event.Event, ok
		}
	}
}

// foldLocked moves what was appended into the backlog.
func (w *watcher) foldLocked() {
	for event, ok := w.read(); ok; event, ok = w.read() {
		event.addTo(&w.missed)
	}
	if w.missed.newest != nil {
		w.log.lagged.Store(true)
	}
}

// read returns what is at the position and moves on. It needs mu.
func (w *watcher) read() (news, bool) {
	if w.next == chunkSize {
		next := w.chunk.next.Load()
		if next == nil {
			return news{}, false
		}
		w.chunk, w.next = next, 0
	}
	if w.next == w.chunk.length.Load() {
		return news{}, false
	}
	event := w.chunk.events[w.next]
	w.next++
	return event, true
}

// call runs the callback. A panic in it costs the watcher that event and nobody anything.
func (w *watcher) call(event Event) {
	defer func() {
		w.delivered.Add(1)
		if value := recover(); value != nil {
			w.log.onPanic(value, debug.Stack())
		}
	}()
	w.callback(event)
}

// notify wakes the watcher, after it has moved what lags far behind into the backlog.
func (w *watcher) notify() {
	w.mu.Lock()
	if !w.stopped && w.behind() > logFold {
		w.foldLocked()
	}
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// behind is how many events of the log the position has not passed. It needs mu.
func (w *watcher) behind() int {
	return int(w.log.length() - w.chunk.first - uint64(w.next))
}

// lag is how many events the watcher has to deliver, and how many it never will because
// newer ones of their keys took their place.
func (w *watcher) lag() (events int, coalesced uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return 0, w.missed.coalesced
	}
	return w.missed.live + w.behind(), w.missed.coalesced
}

// stop ends the watcher. The callback may be running, or about to run for the last time.
func (w *watcher) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.stopped = true
		close(w.quit)
		// A caller may keep its stop for ever, and a callback may never return: neither
		// must hold the log.
		w.chunk, w.missed = nil, backlog[news]{coalesced: w.missed.coalesced}
	}
}

// forget lets go of what the watcher held and takes it out of the log's books. With the last watcher the log
// ends, until another one comes.
func (w *watcher) forget() {
	w.stop()
	_, coalesced := w.lag()
	l := w.log
	w.log, w.callback = nil, nil // nobody else uses them
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watchers, w)
	l.coalesced += coalesced
	if len(l.watchers) == 0 {
		l.tail.Store(nil)
		close(l.unneeded)
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
