package enginekit

import (
	"context"
	"log/slog"
	"sync"
)

// logRoom is how many records may wait for a handler. Beyond it the oldest are dropped.
const logRoom = 1000

// Apart returns a logger that passes records to the handler of log in a separate goroutine, one after another. An
// engine logs during a commit and under its locks, so a handler that writes to the store would otherwise deadlock. The
// goroutine exists only while records wait.
func Apart(log *slog.Logger) *slog.Logger {
	queue := new(logQueue)
	queue.handled.L = &queue.mu
	return slog.New(apart{log.Handler(), queue})
}

// Drain returns once everything logged so far to a logger of Apart is handled.
func Drain(log *slog.Logger) {
	q := log.Handler().(apart).queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for last := q.added; q.ended < last; {
		q.handled.Wait()
	}
}

type apart struct {
	to    slog.Handler
	queue *logQueue
}

func (a apart) Enabled(ctx context.Context, level slog.Level) bool { return a.to.Enabled(ctx, level) }

func (a apart) Handle(ctx context.Context, record slog.Record) error {
	record = record.Clone()
	ctx = context.WithoutCancel(ctx)
	a.queue.add(func() { _ = a.to.Handle(ctx, record) }) // slog itself ignores this error
	return nil
}

func (a apart) WithAttrs(attrs []slog.Attr) slog.Handler {
	return apart{a.to.WithAttrs(attrs), a.queue}
}

func (a apart) WithGroup(name string) slog.Handler { return apart{a.to.WithGroup(name), a.queue} }

// logQueue runs functions one after another, in a goroutine that ends when there are none.
type logQueue struct {
	mu      sync.Mutex // guards the fields below; never held while a function runs
	waiting []func()
	running bool
	handled sync.Cond // on mu; ended has grown
	// added and ended count the functions that were added, and those that ran or were dropped.
	added, ended int
}

func (q *logQueue) add(do func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == logRoom {
		q.waiting = q.waiting[1:] // the newest records describe the present problem best
		q.ended++
	}
	q.waiting = append(q.waiting, do)
	q.added++
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *logQueue) run() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		do := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		call(do)
		q.mu.Lock()
		q.ended++
		q.handled.Broadcast()
	}
	q.waiting, q.running = nil, false
}

// call runs a function. A panic of a log handler must not reach the engine.
func call(do func()) {
	defer func() { _ = recover() }()
	do()
}
