package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// reference is a simple store: one map of objects by value, one RWMutex, lists by a scan and a sort, and an event of
// each write into one of six buffered channels that six goroutines drain. It keeps no order between keys, has no
// lists by time, and a stuck consumer stops it.
type reference struct {
	// strict makes it validate and copy what is written, as a correct store must; without it, it keeps the caller's
	// buffer unchecked.
	strict   bool
	channels []chan event
	drained  sync.WaitGroup
	taken    atomic.Int64 // events that were taken

	mu      sync.RWMutex
	objects map[string]meta.Object // guarded by mu
}

type event struct {
	key    string
	object meta.Object
}

const (
	referenceShards = 6
	referenceBuffer = 100
)

// newReference returns a reference; watched gives it channels and goroutines that drain them.
func newReference(strict, watched bool) *reference {
	r := &reference{strict: strict, objects: make(map[string]meta.Object)}
	if watched {
		for range referenceShards {
			ch := make(chan event, referenceBuffer)
			r.channels = append(r.channels, ch)
			r.drained.Go(func() {
				for range ch {
					r.taken.Add(1)
				}
			})
		}
	}
	return r
}

func (r *reference) close() {
	for _, ch := range r.channels {
		close(ch)
	}
	r.drained.Wait()
}

// fill stores n objects, silently.
func (r *reference) fill(n int) {
	for i := range n {
		r.objects[path(i)] = *object(i)
	}
}

func (r *reference) set(path string, data json.RawMessage) error {
	if r.strict {
		if len(data) == 0 || !jsonvalid.Valid(data) {
			return fmt.Errorf("%q: no valid JSON", path)
		}
		data = slices.Clone(data)
	}
	now := time.Now().UnixNano()
	r.mu.Lock()
	obj, ok := r.objects[path]
	if ok {
		obj.Updated, obj.Data = now, data
	} else {
		obj = meta.Object{Created: now, Path: path, Index: key.LastIndex(path), Data: data}
	}
	r.objects[path] = obj
	r.mu.Unlock()
	r.publish(path, obj)
	return nil
}

// push stores under a new index, the time.
func (r *reference) push(pattern string, data json.RawMessage) error {
	return r.set(key.Build(pattern), data)
}

func (r *reference) publish(path string, obj meta.Object) {
	if r.channels != nil {
		hash := uint32(2166136261)
		for i := range len(path) {
			hash = (hash ^ uint32(path[i])) * 16777619 // FNV-1a
		}
		r.channels[hash%referenceShards] <- event{path, obj}
	}
}

// object returns the object at a path, as Get of a store does.
//
//go:noinline
func (r *reference) object(path string) (meta.Object, error) {
	r.mu.RLock()
	obj, ok := r.objects[path]
	r.mu.RUnlock()
	if !ok {
		return meta.Object{}, absent(path)
	}
	return obj, nil
}

func (r *reference) get(path string) error {
	_, err := r.object(path)
	return err
}

// getN returns the newest n objects that match, by a scan of all and a sort.
func (r *reference) getN(pattern string, n int) []meta.Object {
	r.mu.RLock()
	var found []meta.Object
	for path, obj := range r.objects {
		if key.Match(pattern, path) {
			found = append(found, obj)
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(found, func(a, b meta.Object) int {
		if a.Created != b.Created {
			return int(b.Created - a.Created)
		}
		return strings.Compare(b.Path, a.Path)
	})
	return found[:min(n, len(found))]
}

// newest is a side that lists the newest n objects.
func (r *reference) newest(pattern string, n int) side {
	return func(times int) error {
		for range times {
			if len(r.getN(pattern, n)) == 0 {
				return fmt.Errorf("%s: expected objects, found none", pattern)
			}
		}
		return nil
	}
}
