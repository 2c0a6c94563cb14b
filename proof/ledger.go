package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// A ledger records the answers that a writer received about its own keys. Each writer has its own directories, so the
// required content is known exactly: everything acknowledged, and all or nothing of the one call in progress.

// entry is the required content of a key.
type entry struct {
	data    string
	expires int64 // Unix nanoseconds, 0 for never
}

// state is the content of a writer's directories.
type state map[string]entry

// effect is the effect of a call on a state: nil removes a key.
type effect map[string]*entry

func (s state) with(e effect) state {
	next := maps.Clone(s)
	for path, to := range e {
		if to == nil {
			delete(next, path)
		} else {
			next[path] = *to
		}
	}
	return next
}

// view is a ledger at one instant.
type view struct {
	acked    state
	inFlight effect // nil for none
	revision uint64 // the highest that the writer received
}

// ledger is the ledger of one writer.
type ledger struct {
	writer int
	mu     sync.Mutex // guards the field below
	view   view
}

func newLedger(writer int) *ledger { return &ledger{writer: writer, view: view{acked: state{}}} }

func (l *ledger) begin(e effect) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view.inFlight = e
}

// end records that the call returned.
func (l *ledger) end(err error, revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.view.acked = l.view.acked.with(l.view.inFlight)
		l.view.revision = max(l.view.revision, revision)
		l.view.inFlight = nil
	}
	// After an error the outcome may be unknown: the call stays in flight for the check.
}

func (l *ledger) now() view {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view
}

func (l *ledger) own(path string) bool { return strings.HasPrefix(path, fmt.Sprintf("w%d/", l.writer)) }

// check compares a content, by path, with a view. It skips the content of other writers.
func (l *ledger) check(v view, content map[string]meta.Object) error {
	now := time.Now().UnixNano()
	got := state{}
	for path, obj := range content {
		if l.own(path) {
			got[path] = entry{string(obj.Data), obj.Expires}
		}
	}
	before := differ(got, v.acked, now)
	if before == "" {
		return nil
	}
	if v.inFlight == nil {
		return fmt.Errorf("writer %d: %s", l.writer, before)
	}
	after := differ(got, v.acked.with(v.inFlight), now)
	if after == "" {
		return nil
	}
	return fmt.Errorf("writer %d: %s; nor is it the state after the call that was under way: %s", l.writer, before, after)
}

// differ describes how a content differs from the required one. Objects that expire about now may exist or not.
func differ(got, want state, now int64) string {
	const slack = int64(50 * time.Millisecond)
	for path, w := range want {
		g, there := got[path]
		switch {
		case w.expires != 0 && w.expires < now+slack:
			continue // it may have expired at any moment since
		case !there:
			return fmt.Sprintf("%s is lost, it held %s", path, w.data)
		case g != w:
			return fmt.Sprintf("%s holds %v, want %v", path, g, w)
		}
	}
	for path, g := range got {
		w, known := want[path]
		switch {
		case !known:
			return fmt.Sprintf("%s is there with %s, though it was removed or never written", path, g.data)
		case g != w:
			return fmt.Sprintf("%s holds %v, want %v", path, g, w)
		case g.expires != 0 && g.expires < now-slack:
			return fmt.Sprintf("%s is read though it expired", path)
		}
	}
	return ""
}

// call is one random call of a writer.
type call struct {
	name   string
	effect effect
	do     func(*storage.Layered) (revision uint64, err error)
}

// next draws a call that makes sense in the writer's state. n makes its data unique.
func (l *ledger) next(r *rand.Rand, n int) call {
	acked := l.now().acked
	dir := fmt.Sprintf("w%d/%c", l.writer, 'a'+rune(r.IntN(2)))
	path := fmt.Sprintf("%s/k%d", dir, r.IntN(8))
	data := func(part int) string {
		return fmt.Sprintf(`{"w":%d,"n":%d,"part":%d,"pad":"%s"}`, l.writer, n, part, strings.Repeat("x", r.IntN(200)))
	}
	kind := r.IntN(20)
	if len(acked) == 0 {
		kind = 0
	}
	switch {
	case kind < 9:
		return setCall(path, entry{data: data(0)})
	case kind < 11: // lives for an hour, or for some milliseconds
		life := time.Hour
		if r.IntN(2) == 0 {
			life = time.Duration(1+r.IntN(30)) * time.Millisecond
		}
		return setCall(path, entry{data: data(0), expires: time.Now().Add(life).UnixNano()})
	case kind < 14:
		gone := slices.Sorted(maps.Keys(acked))[r.IntN(len(acked))]
		if acked[gone].expires != 0 {
			return setCall(gone, entry{data: data(0)})
		}
		return call{"del", effect{gone: nil}, func(s *storage.Layered) (uint64, error) { return 0, s.Del(gone) }}
	case kind < 16:
		e := effect{}
		for known := range acked {
			if strings.HasPrefix(known, dir+"/") {
				e[known] = nil
			}
		}
		return call{"glob delete", e, func(s *storage.Layered) (uint64, error) { return 0, s.Del(dir + "/*") }}
	default:
		return l.batchCall(r, acked, data)
	}
}

func setCall(path string, to entry) call {
	return call{"set", effect{path: &to}, func(s *storage.Layered) (uint64, error) {
		stored, err := s.SetWith(path, []byte(to.data), storage.SetOptions{Expires: to.expires})
		return stored.Revision, err
	}}
}

// batchCall sets and removes several keys of both directories at once.
func (l *ledger) batchCall(r *rand.Rand, acked state, data func(int) string) call {
	e := effect{}
	for i := range 2 + r.IntN(6) {
		path := fmt.Sprintf("w%d/%c/k%d", l.writer, 'a'+rune(i%2), r.IntN(8))
		if old, there := acked[path]; there && old.expires == 0 && r.IntN(3) == 0 {
			e[path] = nil
		} else {
			e[path] = &entry{data: data(i)}
		}
	}
	return call{"batch", e, func(s *storage.Layered) (uint64, error) {
		var b storage.Batch
		for _, path := range slices.Sorted(maps.Keys(e)) {
			if to := e[path]; to != nil {
				b.Set(path, []byte(to.data))
			} else {
				b.Del(path)
			}
		}
		stored, err := s.Commit(&b)
		if err != nil {
			return 0, err
		}
		return stored[len(stored)-1].Revision, nil
	}}
}

// step makes one random call and records its answer in the ledger.
func (l *ledger) step(s *storage.Layered, r *rand.Rand, n int) error {
	c := l.next(r, n)
	l.begin(c.effect)
	revision, err := c.do(s)
	l.end(err, revision)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// contentOf reads everything from a started store, with each list and each point read.
func contentOf(s *storage.Layered) (map[string]meta.Object, error) {
	paths, err := s.Keys()
	if err != nil {
		return nil, err
	}
	content := make(map[string]meta.Object, len(paths))
	for _, path := range paths {
		obj, err := s.Get(path)
		if err != nil {
			continue // expired between the two reads
		}
		content[path] = obj
	}
	return content, nil
}

// checkStore checks a store that was started after a crash: its content, and that its revisions continue.
func checkStore(s *storage.Layered, ledgers []*ledger, views []view) error {
	content, err := contentOf(s)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	var highest uint64
	for i, l := range ledgers {
		if err := l.check(views[i], content); err != nil {
			return err
		}
		highest = max(highest, views[i].revision)
	}
	for _, obj := range content {
		highest = max(highest, obj.Revision)
	}
	stored, err := s.SetWith("after/crash", []byte(`1`), storage.SetOptions{})
	if err != nil {
		return fmt.Errorf("write after the crash: %w", err)
	}
	if stored.Revision <= highest {
		return fmt.Errorf("revision %d is used again: the next write has %d", highest, stored.Revision)
	}
	return nil
}
