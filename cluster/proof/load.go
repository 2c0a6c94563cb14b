package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// There are few counters, registers and pairs, so writers collide.
const few = 3

// ledger records what was acknowledged in a round. Everything else was rejected, and must not exist.
type ledger struct {
	acks sync.Mutex // guards the fields below

	count   int             // of everything acknowledged
	pushed  map[string]bool // values below log/
	added   map[string]int  // to a counter
	swapped map[string]int  // compare-and-set of a key
	kept    map[string]bool // values below tmp/ that no delete took
	history []call
	fences  []fenced
	seen    map[int]bool // values of registers read without a barrier
}

func newLedger() *ledger {
	return &ledger{
		pushed: make(map[string]bool), added: make(map[string]int), swapped: make(map[string]int), kept: make(map[string]bool), seen: make(map[int]bool),
	}
}

func (l *ledger) acknowledge(note func()) {
	l.acks.Lock()
	defer l.acks.Unlock()
	l.count++
	note()
}

func (l *ledger) acknowledged() int {
	l.acks.Lock()
	defer l.acks.Unlock()
	return l.count
}

// write writes to the store of a node until over, one write after the other. Any error other than a lost engine is a
// violation.
func (r *round) write(node, writer int, over <-chan struct{}) {
	s := r.stores[node]
	mine := make(map[string]bool) // the content of tmp/ by this writer
	defer func() {
		r.acks.Lock()
		defer r.acks.Unlock()
		maps.Copy(r.kept, mine)
	}()
	for i := 0; ; i++ {
		select {
		case <-over:
			return
		default:
		}
		id := fmt.Sprintf("%d-%d", writer, i)
		var err error
		r.gates[node].RLock()
		switch rand.IntN(9) {
		case 0:
			err = r.push(s, id)
		case 1:
			err = r.add(s)
		case 2:
			err = r.swap(s)
		case 3:
			err = r.pair(s, id)
		case 4:
			err = r.temporary(s, writer, id, mine)
		case 5:
			err = r.fence(s)
		default:
			err = r.register(s, writer, rand.IntN(1<<30))
		}
		r.gates[node].RUnlock()
		switch {
		case err == nil:
		case errors.Is(err, storage.ErrUnavailable):
			r.tally.add("writes refused while the engine was lost", 1)
			time.Sleep(10 * time.Millisecond) // a loop must not spin while the engine is lost
		case errors.Is(err, storage.ErrNotActive): // the round is over: the gate holds writes back while a node restarts
			return
		default:
			r.fail("writer %d: %w", writer, err)
			return
		}
	}
}

func (r *round) push(s *storage.Layered, id string) error {
	_, err := s.Push("log/*", json.RawMessage(strconv.Quote(id)))
	if err == nil {
		r.acknowledge(func() { r.pushed[strconv.Quote(id)] = true })
		r.tally.add("pushes", 1)
	}
	return err
}

func number(data json.RawMessage) (n int, err error) {
	if len(data) > 0 {
		err = json.Unmarshal(data, &n)
	}
	return n, err
}

func plusOne(old meta.Object) (json.RawMessage, error) {
	n, err := number(old.Data)
	return json.RawMessage(strconv.Itoa(n + 1)), err
}

func (r *round) add(s *storage.Layered) error {
	path := fmt.Sprint("counter/", rand.IntN(few))
	_, err := s.Update(path, plusOne)
	if err == nil {
		r.acknowledge(func() { r.added[path]++ })
		r.tally.add("updates", 1)
	}
	return err
}

// swap is one compare-and-set of the node's value, which may be outdated: it must then be rejected.
func (r *round) swap(s *storage.Layered) error {
	path := fmt.Sprint("swap/", rand.IntN(few))
	old, err := s.Get(path)
	opt := storage.SetOptions{IfRevision: old.Revision}
	if errors.Is(err, storage.ErrNotFound) {
		opt, err = storage.SetOptions{IfAbsent: true}, nil
	}
	if err != nil {
		return err
	}
	next, err := plusOne(old)
	if err != nil {
		return err
	}
	if _, err = s.SetWith(path, next, opt); errors.Is(err, storage.ErrConflict) {
		r.tally.add("compare-and-set refused", 1)
		return nil
	}
	if err == nil {
		r.acknowledge(func() { r.swapped[path]++ })
		r.tally.add("compare-and-set done", 1)
	}
	return err
}

// pair sets two keys at once, and checks that no list shows one without the other.
func (r *round) pair(s *storage.Layered, id string) error {
	dir := fmt.Sprint("pair/", rand.IntN(few))
	var batch storage.Batch
	batch.Set(dir+"/a", json.RawMessage(strconv.Quote(id)))
	batch.Set(dir+"/b", json.RawMessage(strconv.Quote(id)))
	if _, err := s.Commit(&batch); err != nil {
		return err
	}
	r.acknowledge(func() {})
	r.tally.add("batches", 1)
	return r.together(s, dir)
}

func (r *round) together(s *storage.Layered, dir string) error {
	list, err := s.GetList(dir + "/*")
	if err == nil && len(list) != 0 && (len(list) != 2 || string(list[0].Data) != string(list[1].Data)) {
		err = fmt.Errorf("%s holds half of a batch: %v", dir, list)
	}
	return err
}

// temporary pushes into a directory of the writer's own, or deletes its content at once: the writer knows the
// expected content.
func (r *round) temporary(s *storage.Layered, writer int, id string, mine map[string]bool) error {
	pattern := fmt.Sprintf("tmp/%d/*", writer)
	if len(mine) < 5 {
		_, err := s.Push(pattern, json.RawMessage(strconv.Quote(id)))
		if err == nil {
			mine[strconv.Quote(id)] = true
			r.acknowledge(func() {})
			r.tally.add("pushes", 1)
		}
		return err
	}
	if err := s.Del(pattern); err != nil {
		return err
	}
	clear(mine)
	r.acknowledge(func() {})
	r.tally.add("glob deletes", 1)
	list, err := s.GetList(pattern)
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%s holds %d objects right after a delete of all", pattern, len(list))
	}
	return err
}
