package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// Locks among all nodes: once a lock is acquired with a token, nothing is written with an older token.

const fencedKey = "fenced/by"

// fenced is a use of a token: the lock was acquired, or a write bound to it was acknowledged.
type fenced struct {
	token      uint64
	began, end time.Time
}

// fence acquires a lock, writes its token several times, each write bound to the lock, and releases it or lets it
// expire.
func (r *round) fence(s *storage.Layered) error {
	began := time.Now()
	lease, err := s.TryAcquire("lock", time.Duration(100+rand.IntN(900))*time.Millisecond)
	if errors.Is(err, storage.ErrLocked) {
		r.tally.add("locks that somebody else held", 1)
		return nil
	}
	if err != nil {
		return err
	}
	note := func() {
		done := fenced{lease.Token(), began, time.Now()}
		r.acknowledge(func() { r.fences = append(r.fences, done) })
	}
	note()
	r.tally.add("locks taken", 1)
	for range 1 + rand.IntN(3) {
		began = time.Now()
		_, err := s.SetWith(fencedKey, json.RawMessage(strconv.FormatUint(lease.Token(), 10)), storage.SetOptions{Lease: lease})
		switch {
		case errors.Is(err, storage.ErrLeaseLost):
			r.tally.add("writes refused as their lock was gone", 1)
			return nil
		case err != nil:
			return err
		}
		note()
		r.tally.add("writes bound to a lock", 1)
	}
	if rand.IntN(3) == 0 {
		return nil
	}
	if err := lease.Release(); err != nil && !errors.Is(err, storage.ErrLeaseLost) {
		return err
	}
	return nil
}

// checkFences checks that no token was used after the first use of a later one.
func (r *round) checkFences(s *storage.Layered) error {
	byEnd := slices.Clone(r.fences)
	slices.SortFunc(byEnd, func(a, b fenced) int { return a.end.Compare(b.end) })
	slices.SortFunc(r.fences, func(a, b fenced) int { return a.began.Compare(b.began) })
	highest, at := uint64(0), 0
	for _, f := range r.fences {
		for ; at < len(byEnd) && byEnd[at].end.Before(f.began); at++ {
			highest = max(highest, byEnd[at].token)
		}
		if f.token < highest {
			return fmt.Errorf("token %d was used once %d was in use", f.token, highest)
		}
	}
	obj, err := s.Get(fencedKey)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	token, err := strconv.ParseUint(string(obj.Data), 10, 64)
	if err == nil && !slices.ContainsFunc(r.fences, func(f fenced) bool { return f.token == token }) {
		err = fmt.Errorf("token %d is written, and nobody was told that it is", token)
	}
	return err
}
