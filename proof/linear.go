package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/all"
	"github.com/oolith-db/oolith/storage"
)

// The linearizability of the calls, checked with porcupine (https://github.com/anishathalye/porcupine): some order of
// the calls, in which each lies between its beginning and its end, must explain the history of concurrent calls.

// There are few linearKeys, so calls collide.
var linearKeys = []string{"x/1", "x/2", "x/3"}

type linearOp struct {
	kind     string // get, set, del, cas, absent, glob, batch, lock, unlock
	keys     []string
	values   []string
	revision uint64 // required by cas
}

type linearResult struct {
	value    string
	revision uint64 // of the read or written object
	failed   bool   // not found, or conflict
}

// linearState is the content of the keys, as text: key=value@revision, sorted. It must be comparable.
type linearState string

func (s linearState) read() map[string]linearResult {
	content := map[string]linearResult{}
	for part := range strings.FieldsSeq(string(s)) {
		var r linearResult
		key, rest, _ := strings.Cut(part, "=")
		value, revision, _ := strings.Cut(rest, "@")
		r.value = value
		_, _ = fmt.Sscan(revision, &r.revision)
		content[key] = r
	}
	return content
}

func stateOf(content map[string]linearResult) linearState {
	parts := make([]string, 0, len(content))
	for _, key := range slices.Sorted(maps.Keys(content)) {
		parts = append(parts, fmt.Sprintf("%s=%s@%d", key, content[key].value, content[key].revision))
	}
	return linearState(strings.Join(parts, " "))
}

var linearModel = porcupine.Model{
	Init: func() any { return linearState("") },
	Step: func(state, input, output any) (bool, any) {
		return linearStep(state.(linearState), input.(linearOp), output.(linearResult))
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// linearStep reports whether a call in a state may have the given answer, and the state after it.
func linearStep(s linearState, op linearOp, out linearResult) (bool, any) {
	content := s.read()
	first := ""
	if len(op.keys) > 0 {
		first = op.keys[0]
	}
	now, exists := content[first]
	switch op.kind {
	case "get":
		if !exists {
			return out.failed, s
		}
		return !out.failed && out.value == now.value && out.revision == now.revision, s
	case "lock":
		if exists {
			return out.failed, s
		}
		if out.failed {
			return false, s
		}
		content[first] = linearResult{value: "held"}
	case "unlock":
		delete(content, first)
	case "glob":
		for _, key := range linearKeys {
			delete(content, key)
		}
	case "del":
		if !exists {
			return out.failed, s
		}
		delete(content, first)
		return !out.failed, stateOf(content)
	case "cas":
		if !exists || now.revision != op.revision {
			return out.failed, s
		}
		content[first] = linearResult{value: op.values[0], revision: out.revision}
		return !out.failed, stateOf(content)
	case "absent":
		if exists {
			return out.failed, s
		}
		content[first] = linearResult{value: op.values[0], revision: out.revision}
		return !out.failed, stateOf(content)
	default: // set, batch
		for i, key := range op.keys {
			content[key] = linearResult{value: op.values[i], revision: out.revision - uint64(len(op.keys)-1-i)}
		}
	}
	return !out.failed, stateOf(content)
}

// linearRound records the history of several goroutines on a store and checks it.
func linearRound(ctx context.Context, c config, t *tally) error {
	name, store, err := randomStore(c)
	if err != nil {
		return err
	}
	defer store.Close()
	const clients = 5
	var mu sync.Mutex // guards the history
	var history []porcupine.Operation
	var group sync.WaitGroup
	errs := make([]error, clients)
	began := time.Now()
	for client := range clients {
		r := rand.New(rand.NewPCG(c.seed, uint64(10+client)))
		group.Go(func() {
			l := linearClient{store: store, r: r, id: client, seen: map[string]uint64{}}
			for n := 0; n < 60 && errs[client] == nil; n++ {
				op := l.draw(n)
				call := time.Since(began).Nanoseconds()
				out, err := l.do(op)
				end := time.Since(began).Nanoseconds()
				errs[client] = err
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: op, Call: call, Output: out, Return: end})
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	t.add("histories", 1)
	t.add("calls", len(history))
	switch porcupine.CheckOperationsTimeout(linearModel, history, time.Minute) {
	case porcupine.Illegal:
		return fmt.Errorf("%s: no order explains the answers of %d calls", name, len(history))
	case porcupine.Unknown:
		t.add("undecided within a minute", 1)
	}
	return nil
}

// randomStore starts a store of a random engine and mode.
func randomStore(c config) (name string, store *storage.Layered, err error) {
	modes := []string{"memory alone", "with memory", "cache", "engine alone"}
	mode := modes[c.rng.IntN(len(modes))]
	config := storage.LayeredConfig{Memory: storage.NewMemoryLayer()}
	if mode != "memory alone" {
		url := fmt.Sprintf(engines[c.rng.IntN(len(engines))], c.dir)
		if config.Embedded, err = engine.Open(url, all.Engines()...); err != nil {
			return "", nil, err
		}
		scheme, _, _ := strings.Cut(url, ":")
		name = scheme + " "
	}
	config.MemoryOptions.SkipLoadMemory = mode == "cache"
	config.MemoryOptions.CacheBytes = 4 << 10 // makes objects enter and leave the cache
	if mode == "engine alone" {
		config.Memory = nil
	}
	store = storage.New(config)
	return name + mode, store, store.Start(quiet())
}

// linearClient is one of the goroutines.
type linearClient struct {
	store *storage.Layered
	r     *rand.Rand
	id    int
	seen  map[string]uint64 // the newest revision that it saw of each key
	holds bool
}

const lockedPath = "lock/1"

func (l *linearClient) draw(n int) linearOp {
	key := linearKeys[l.r.IntN(len(linearKeys))]
	value := fmt.Sprintf("%d.%d", l.id, n)
	if l.holds {
		return linearOp{kind: "unlock", keys: []string{lockedPath}}
	}
	switch l.r.IntN(12) {
	case 0, 1, 2, 3:
		return linearOp{kind: "get", keys: []string{key}}
	case 4, 5:
		return linearOp{kind: "set", keys: []string{key}, values: []string{value}}
	case 6:
		return linearOp{kind: "del", keys: []string{key}}
	case 7:
		if l.seen[key] == 0 {
			return linearOp{kind: "absent", keys: []string{key}, values: []string{value}}
		}
		return linearOp{kind: "cas", keys: []string{key}, values: []string{value}, revision: l.seen[key]}
	case 8:
		return linearOp{kind: "absent", keys: []string{key}, values: []string{value}}
	case 9:
		return linearOp{kind: "glob"}
	case 10:
		return linearOp{kind: "batch", keys: []string{linearKeys[0], linearKeys[2]}, values: []string{value, value}}
	default:
		return linearOp{kind: "lock", keys: []string{lockedPath}}
	}
}

// do makes a call. Only an answer that the model does not cover is an error.
func (l *linearClient) do(op linearOp) (out linearResult, err error) {
	data := func(i int) []byte { return fmt.Appendf(nil, "%q", op.values[i]) }
	set := func(opt storage.SetOptions) {
		stored, setErr := l.store.SetWith(op.keys[0], data(0), opt)
		out.revision, err = stored.Revision, setErr
	}
	switch op.kind {
	case "get":
		obj, getErr := l.store.Get(op.keys[0])
		out = linearResult{value: strings.Trim(string(obj.Data), `"`), revision: obj.Revision}
		err = getErr
	case "set":
		set(storage.SetOptions{})
	case "cas":
		set(storage.SetOptions{IfRevision: op.revision})
	case "absent":
		set(storage.SetOptions{IfAbsent: true})
	case "del":
		err = l.store.Del(op.keys[0])
	case "glob":
		err = l.store.Del("x/*")
	case "batch":
		var b storage.Batch
		for i, key := range op.keys {
			b.Set(key, data(i))
		}
		stored, batchErr := l.store.Commit(&b)
		if err = batchErr; err == nil {
			out.revision = stored[len(stored)-1].Revision
		}
	case "lock":
		out.failed = !l.store.TryLock(op.keys[0])
		l.holds = !out.failed
	case "unlock":
		err = l.store.Unlock(op.keys[0])
		l.holds = false
	}
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrConflict) {
		return linearResult{failed: true}, nil
	}
	if len(op.keys) == 1 && out.revision != 0 {
		l.seen[op.keys[0]] = out.revision
	}
	return out, err
}
