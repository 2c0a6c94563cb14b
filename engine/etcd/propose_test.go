package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
		want  error // nil for an acknowledged one
	}{
		{"lost, took place", true, context.DeadlineExceeded, nil},
		{"lost, did not", false, context.DeadlineExceeded, storage.ErrUnavailable},
		{"out of space, took place: it crossed the line", true, rpctypes.ErrNoSpace, nil},
		{"out of space", false, rpctypes.ErrNoSpace, storage.ErrUnavailable},
		{"too large for etcd", false, rpctypes.ErrRequestTooLarge, new(storage.EntryError)},
		{"too large for a message", false, large, new(storage.EntryError)},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, f := newFake(t)
			full := errors.Is(test.err, rpctypes.ErrNoSpace)
			f.answer = func(ops []clientv3.Op) (bool, error) {
				switch {
				case proposes(ops):
					return test.takes, test.err
				case full:
					return false, test.err // no fence either
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
	f.answer = func([]clientv3.Op) (bool, error) {
		arrive(random.IntN(len(late) + 1))
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
