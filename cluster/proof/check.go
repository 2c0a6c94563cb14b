package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// check compares every node, and the followers, with the ledger.
func (r *round) check(ctx context.Context, followers []*follower) error {
	for node, s := range r.stores {
		for err := s.Barrier(ctx); err != nil; err = s.Barrier(ctx) {
			if !errors.Is(err, storage.ErrUnavailable) {
				return err
			}
			if err := r.members.Lost(); err != nil {
				return err
			}
		}
		if err := r.checkNode(s); err != nil {
			return fmt.Errorf("node %d: %w", node, err)
		}
	}
	for i, f := range followers {
		for !f.complete(r.pushed) {
			if err := r.failed(); err != nil {
				return err
			}
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return fmt.Errorf("subscription %d was not told of all that is acknowledged: %w", i, err)
			}
		}
	}
	return errors.Join(r.linearizable(), r.checkSeen(), r.checkFences(r.stores[0]))
}

func (r *round) checkNode(s *storage.Layered) error {
	for pattern, want := range map[string]map[string]bool{"log/*": r.pushed, "tmp/*/*": r.kept} {
		list, err := s.GetList(pattern)
		if err != nil {
			return err
		}
		held := make(map[string]bool)
		for _, obj := range list {
			if held[string(obj.Data)] {
				return fmt.Errorf("%s is there twice", obj.Data)
			}
			held[string(obj.Data)] = true
		}
		for id := range want {
			if !held[id] {
				return fmt.Errorf("%s below %s was acknowledged and is lost", id, pattern)
			}
		}
		for id := range held {
			if !want[id] {
				return fmt.Errorf("%s below %s was refused or deleted, and is there", id, pattern)
			}
		}
	}
	for _, want := range []map[string]int{r.added, r.swapped} {
		for path, n := range want {
			if obj, err := s.Get(path); err != nil || string(obj.Data) != strconv.Itoa(n) {
				return fmt.Errorf("%s is %s, %v, want %d", path, obj.Data, err, n)
			}
		}
	}
	for i := range few {
		if err := r.together(s, fmt.Sprint("pair/", i)); err != nil {
			return err
		}
	}
	return nil
}

// follower is a subscriber that moves from node to node.
type follower struct {
	round *round
	mu    sync.Mutex        // guards told
	told  map[string]uint64 // values, and the revision that delivered them
}

// follow follows the log, and moves to another node after some notices.
func (f *follower) follow(ctx context.Context, node int) { f.round.wander(ctx, node, f.stay) }

// stay follows on one node, and returns where to continue.
func (f *follower) stay(ctx context.Context, s *storage.Layered, from uint64) (next uint64, err error) {
	sub, err := s.Subscribe(ctx, "log/*", storage.SubscribeOptions{From: from})
	if err != nil {
		return from, err
	}
	defer sub.Close()
	last, live := from, from != 0
	if !live {
		f.forget()
	}
	// It moves after some notices, or at the latest after a while, because a node may be cut off.
	ctx, cancel := context.WithTimeout(ctx, upTo(5*time.Second)+time.Second)
	defer cancel()
	for left := 1 + rand.IntN(200); left > 0; {
		n, err := sub.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, storage.ErrNotActive) { // or the node is restarted
			break
		}
		if err != nil {
			return from, err
		}
		f.round.tally.add("notices", 1)
		switch n.Kind {
		case storage.NoticeReset:
			f.forget()
			f.round.tally.add("resets", 1)
			live = false
		case storage.NoticeLive:
			live, last = true, n.Revision
		case storage.NoticeState:
			err = f.tell(n.Object.Data, n.Revision)
		case storage.NoticeSet:
			if n.Revision <= last {
				err = fmt.Errorf("revision %d comes behind %d", n.Revision, last)
			}
			last = n.Revision
			err = errors.Join(err, f.tell(n.Object.Data, n.Revision))
			left--
		default:
			err = fmt.Errorf("%v of %s, which nobody deletes", n.Kind, n.Path)
		}
		if err != nil {
			return from, err
		}
	}
	if !live { // there is no position to continue from in the middle of a state
		return 0, nil
	}
	return sub.Revision(), nil
}

func (f *follower) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.told)
}

func (f *follower) tell(data json.RawMessage, revision uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if before, twice := f.told[string(data)]; twice {
		return fmt.Errorf("%s is told at revision %d, and was at %d", data, revision, before)
	}
	f.told[string(data)] = revision
	return nil
}

// complete reports whether everything in the log was delivered, and nothing else.
func (f *follower) complete(want map[string]bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.told) < len(want) {
		return false
	}
	for id := range f.told {
		if !want[id] {
			f.round.fail("%s was told and is not there", id)
		}
	}
	return len(f.told) == len(want)
}
