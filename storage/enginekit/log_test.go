package enginekit

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// lines is a handler that keeps what it gets, and does something first.
type lines struct {
	before func()
	mu     sync.Mutex
	got    []string
	attrs  string
}

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	if l.before != nil {
		l.before()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.got = append(l.got, l.attrs+text)
	return nil
}

func (l *lines) WithAttrs(attrs []slog.Attr) slog.Handler { l.attrs += fmt.Sprint(attrs); return l }
func (l *lines) WithGroup(name string) slog.Handler       { l.attrs += name + "."; return l }

// A handler runs apart from who logs, in order, also one that waits for a lock that who logs holds, or panics.
func TestApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lock sync.Mutex
		to := &lines{}
		n := 0
		to.before = func() {
			lock.Lock() // as the store's does for a handler that writes to it
			defer lock.Unlock()
			if n++; n == 2 {
				panic("a handler's own")
			}
		}
		log := Apart(slog.New(to)).With("engine", "x")
		lock.Lock()
		for i := range 4 {
			log.Info(fmt.Sprint("record ", i), "i", i)
			log.Debug("not wanted")
		}
		lock.Unlock()
		Drain(log)
		if got := strings.Join(to.got, "; "); got != "[engine=x]record 0 i=0; [engine=x]record 2 i=2; [engine=x]record 3 i=3" {
			t.Errorf("the handler got %s", got)
		}
		synctest.Wait() // no goroutine is left: the bubble would fail
	})
}

// A handler that is stuck costs a bounded number of records, of which the newest stay.
func TestApartBeyondItsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		to := &lines{before: func() { <-stuck }}
		log := Apart(slog.New(to))
		for i := range 3 * logRoom {
			log.Info(fmt.Sprint(i))
			synctest.Wait()
		}
		close(stuck)
		Drain(log)
		if n := len(to.got); n > logRoom+1 || to.got[n-1] != fmt.Sprint(3*logRoom-1) {
			t.Errorf("%d records, the last one %s", n, to.got[n-1])
		}
	})
}
