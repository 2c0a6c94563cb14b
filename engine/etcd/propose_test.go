package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func putOf(path string) *storage.SharedTransaction {
	return &storage.SharedTransaction{Changes: []storage.SharedChange{{Key: path, Object: &meta.Object{Path: path, Created: 1, Data: []byte(`1`)}}}}
}

// What Propose says of a transaction is so, whatever comes instead of the answer.
func TestProposeTellsWhatTookPlace(t *testing.T) {
	large := status.Error(codes.ResourceExhausted, "grpc: trying to send message larger than max (3000000 vs. 2097152)")
	for _, test := range []struct {
		name  string
		takes bool
		err   error
		full  bool  // the cluster takes no puts from then on
		want  error // nil for an acknowledged one
	}{
		{"lost, took place", true, context.DeadlineExceeded, false, nil},
		{"lost, did not", false, context.DeadlineExceeded, false, storage.ErrUnavailable},
		{"out of space, took place: it crossed the line", true, rpctypes.ErrNoSpace, true, nil},
		{"out of space", false, rpctypes.ErrNoSpace, true, storage.ErrUnavailable},
		{"lost as the cluster got out of space, took place", true, context.DeadlineExceeded, true, nil},
		{"lost as the cluster got out of space, did not", false, context.DeadlineExceeded, true, storage.ErrUnavailable},
		{"too large for etcd", false, rpctypes.ErrRequestTooLarge, false, new(storage.EntryError)},
		{"too large for a message", false, large, false, new(storage.EntryError)},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, f := newFake(t)
			var late []*fakeTxn
			f.late = func(x *fakeTxn) { late = append(late, x) }
			f.answer = func(ops []clientv3.Op) (bool, error) {
				switch {
				case proposes(ops):
					return test.takes, test.err
				case test.full && puts(ops):
					return false, rpctypes.ErrNoSpace // no such fence either
				}
				return true, nil
			}
			first, err := l.Propose(t.Context(), putOf("k"))
			there := f.held[l.keys.object("k")]
			if (there != nil) != (err == nil) {
				t.Errorf("Propose: %v, and the object is there: %v", err, there != nil)
			}
			if err == nil && first != revisionOf(there.ModRevision, 0) {
				t.Errorf("Propose returns revision %d, it is %d", first, revisionOf(there.ModRevision, 0))
			}
			entry, whole := errors.AsType[*storage.EntryError](err)
			switch _, isEntry := test.want.(*storage.EntryError); {
			case isEntry && (!whole || entry.Index >= 0 || errors.Is(err, storage.ErrUnavailable)):
				t.Errorf("Propose: %v, want an EntryError of all", err)
			case !isEntry && !errors.Is(err, test.want):
				t.Errorf("Propose: %v, want %v", err, test.want)
			}
			for _, x := range late {
				x.apply()
			}
			if there == nil && f.held[l.keys.object("k")] != nil {
				t.Error("what was refused took place later")
			}
			f.answer = func(ops []clientv3.Op) (bool, error) {
				if puts(ops) {
					return false, rpctypes.ErrNoSpace
				}
				return true, nil
			}
			if test.full { // still: nothing is under way, and nothing waits
				if _, err := l.Propose(t.Context(), putOf("k/3")); !errors.Is(err, storage.ErrUnavailable) || f.held[l.keys.object("k/3")] != nil {
					t.Errorf("Propose out of space: %v", err)
				}
			}
			f.answer = nil
			if _, err := l.Propose(t.Context(), putOf("k/2")); err != nil {
				t.Errorf("Propose of the next one: %v", err)
			}
		})
	}
}

// Transactions, fences and recoveries whose answers are lost, or which come late, in any order: what was acknowledged took
// place once, and what was refused never does.
func TestProposeAtRandom(t *testing.T) {
	for _, seed := range []uint64{1, 2, uint64(time.Now().UnixNano())} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { proposeAtRandom(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func proposeAtRandom(t *testing.T, random *rand.Rand) {
	l, f := newFake(t)
	var late []*fakeTxn // under way, to come at any time
	f.late = func(x *fakeTxn) { late = append(late, x) }
	arrive := func(n int) {
		for range n {
			at := random.IntN(len(late))
			late[at].apply()
			late = append(late[:at], late[at+1:]...)
		}
	}
	full := false
	f.answer = func(ops []clientv3.Op) (bool, error) {
		arrive(random.IntN(len(late) + 1))
		if random.IntN(10) == 0 {
			full = !full
		}
		if full && puts(ops) && random.IntN(3) > 0 {
			return random.IntN(4) == 0, rpctypes.ErrNoSpace // it says so of what crosses the line, too
		}
		switch random.IntN(4) {
		case 0:
			return true, context.DeadlineExceeded
		case 1:
			return false, context.DeadlineExceeded
		}
		return true, nil
	}
	acknowledged := make(map[string]uint64)
	const n = 300
	for i := range n {
		path := fmt.Sprintf("k/%d", i)
		first, err := l.Propose(t.Context(), putOf(path))
		switch {
		case err == nil:
			acknowledged[path] = first
		case !errors.Is(err, storage.ErrUnavailable):
			t.Fatalf("Propose: %v", err)
		}
	}
	arrive(len(late))
	for i := range n {
		path := fmt.Sprintf("k/%d", i)
		var revision uint64
		if kv := f.held[l.keys.object(path)]; kv != nil {
			revision = revisionOf(kv.ModRevision, 0)
		}
		if acknowledged[path] != revision {
			t.Errorf("%s was acknowledged at %d, and is there at %d; 0 is for not at all", path, acknowledged[path], revision)
		}
	}
}

// Where somebody else took away the record that would have told the outcome, no outcome is guessed.
func TestOutcomeThatNobodyKnows(t *testing.T) {
	l, f := newFake(t)
	f.answer = func(ops []clientv3.Op) (bool, error) {
		if proposes(ops) {
			return true, context.DeadlineExceeded
		}
		return true, nil
	}
	f.asked = func(key string) {
		if key == l.keys.record("node") {
			delete(f.held, key)
		}
	}
	if _, err := l.Propose(t.Context(), putOf("k")); !errors.Is(err, storage.ErrWritesStopped) {
		t.Errorf("Propose: %v, want ErrWritesStopped", err)
	}
}

// A record that was taken away between two transactions is made anew, and the transaction asked for again.
func TestRecordIsMadeAnew(t *testing.T) {
	l, f := newFake(t)
	delete(f.held, l.keys.record("node"))
	_, err := l.Propose(t.Context(), putOf("k"))
	if guard, ok := errors.AsType[*storage.GuardError](err); !ok || guard.Lost != nil {
		t.Fatalf("Propose without its record: %v, want a GuardError", err)
	}
	if _, err := l.Propose(t.Context(), putOf("k")); err != nil {
		t.Errorf("Propose again: %v", err)
	}
	if f.held[l.keys.object("k")] == nil || f.held[l.keys.record("node")] == nil {
		t.Error("the object or the record is not there")
	}
}

// What is larger than etcd takes, with keys and conditions, is refused and not sent.
func TestRequestsAreCounted(t *testing.T) {
	l, f := newFake(t)
	f.answer = func([]clientv3.Op) (bool, error) { t.Error("it was sent"); return true, nil }
	large := new(storage.SharedTransaction)
	for i := range 1000 { // no data to speak of
		path := fmt.Sprintf("%s/%d", strings.Repeat("k", 900), i)
		large.Changes = append(large.Changes, putOf(path).Changes...)
		large.Guards = append(large.Guards, storage.Guard{Path: path})
	}
	_, err := l.Propose(t.Context(), large)
	if entry, ok := errors.AsType[*storage.EntryError](err); !ok || entry.Index >= 0 || !strings.Contains(err.Error(), "etcd takes at most 1572864") {
		t.Errorf("Propose: %v, want an EntryError of all with the limit", err)
	}
}

// sweep removes the records of nodes without a sign of life, and no others, and not before their time is over.
func TestSweep(t *testing.T) {
	l, f := newFake(t)
	s := l.session.Load()
	put := func(key string) {
		t.Helper()
		if _, err := f.Put(t.Context(), key, record{}.encoded()); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range []string{"alive", "crashed", "back", "busy"} {
		put(l.keys.record(node))
	}
	put(l.keys.alive("alive"))
	put(l.keys.alive("node"))
	began, gone := time.Unix(0, 0), make(map[string]absence)
	after := func(d time.Duration, want ...string) {
		t.Helper()
		if err := s.sweep(gone, began.Add(d)); err != nil {
			t.Fatal(err)
		}
		var left []string
		for key := range f.held {
			if node, ok := strings.CutPrefix(key, l.keys.record("")); ok {
				left = append(left, node)
			}
		}
		if slices.Sort(left); !slices.Equal(left, want) {
			t.Errorf("after %v the records of %q are left, want %q", d, left, want)
		}
	}
	after(0, "alive", "back", "busy", "crashed", "node")
	put(l.keys.alive("back"))
	after(sweepAfter/2, "alive", "back", "busy", "crashed", "node")
	delete(f.held, l.keys.alive("back"))
	put(l.keys.record("busy")) // its sign of life cannot be made, but it writes
	after(sweepAfter, "alive", "back", "busy", "node")
	after(2*sweepAfter-1, "alive", "back", "busy", "node")
	after(2*sweepAfter, "alive", "node")
}

// Changes of other software have the places that a node reads which starts later.
func TestPlacesOfForeignChanges(t *testing.T) {
	put := func(place int) storage.SharedChange {
		return storage.SharedChange{Object: &meta.Object{Revision: revisionOf(9, place)}}
	}
	var del storage.SharedChange
	for name, c := range map[string]struct {
		changes []storage.SharedChange
		want    []int // nil for an error
	}{
		"one":                     {[]storage.SharedChange{put(7)}, []int{7}},
		"in their order":          {[]storage.SharedChange{put(0), del, put(5), del}, []int{0, 1, 5, 6}},
		"the same place":          {[]storage.SharedChange{put(3), put(3)}, []int{3, 4}},
		"no room behind the last": {[]storage.SharedChange{put(4095), del}, nil},
	} {
		err := placeForeign(c.changes, 9)
		if (err == nil) != (c.want != nil) {
			t.Errorf("%s: %v", name, err)
		}
		for i, place := range c.want {
			if got := c.changes[i].Revision; got != revisionOf(9, place) {
				t.Errorf("%s: change %d is at place %d, want %d", name, i, got&(1<<shift-1), place)
			}
		}
	}
}

// No transaction requires that the record is absent, also if the record is removed while the node adopts it: a late one
// could succeed after its fence.
func TestRecordRemovedWhileItIsAdopted(t *testing.T) {
	l, f := newFake(t)
	l.session.Load().known = 0
	f.asked = func(key string) { delete(f.held, key) }
	if _, err := l.Propose(t.Context(), putOf("k")); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Propose: %v, want ErrUnavailable", err)
	}
	f.asked = nil
	if _, err := l.Propose(t.Context(), putOf("k")); err != nil {
		t.Errorf("Propose again: %v", err)
	}
}
