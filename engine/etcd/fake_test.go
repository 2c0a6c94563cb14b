package etcd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// fakeKV is as much of a cluster as a proposal and a lock need, with answers that a test decides on.
type fakeKV struct {
	clientv3.KV
	mu       sync.Mutex
	revision int64
	held     map[string]*mvccpb.KeyValue
	// answer is called before a transaction, if it is not nil. It says whether the transaction takes place, and the error that
	// comes instead of the answer.
	answer func(ops []clientv3.Op) (takes bool, err error)
	asked  func(key string) // called before a get of a key, if it is not nil
	leases *fakeLeases
	late   func(*fakeTxn) // takes what may take place later
}

// newFake returns a session over a fake.
func newFake(t *testing.T) (*Layer, *fakeKV) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}, Logger: zap.NewNop()}) // it connects when it is asked for something
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	f := &fakeKV{held: make(map[string]*mvccpb.KeyValue), revision: 1}
	client.KV = f
	l := New(nil, Options{})
	s := &session{keys: l.keys, options: l.options, client: client, node: "node"}
	s.seen.Raise(1 << 40)
	s.options.Logger = slog.New(slog.DiscardHandler)
	s.ctx, s.cancel = context.WithCancel(t.Context())
	t.Cleanup(s.cancel)
	put, err := f.Put(t.Context(), s.keys.record(s.node), record{}.encoded())
	if err != nil {
		t.Fatal(err)
	}
	s.known = put.Header.Revision
	l.session.Store(s)
	return l, f
}

func (f *fakeKV) header() *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{Revision: f.revision}
}

func (f *fakeKV) Get(_ context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := &clientv3.GetResponse{Header: f.header()}
	if op := clientv3.OpGet(key, opts...); len(op.RangeBytes()) > 0 {
		for _, kv := range f.held {
			if inside := bytes.HasPrefix(kv.Key, op.KeyBytes()); inside && (op.MaxCreateRev() == 0 || kv.CreateRevision <= op.MaxCreateRev()) {
				got.Kvs = append(got.Kvs, kv)
			}
		}
		return got, nil
	}
	if f.asked != nil {
		f.asked(key)
	}
	if kv := f.held[key]; kv != nil {
		got.Kvs = []*mvccpb.KeyValue{kv}
	}
	return got, nil
}

func (f *fakeKV) Put(ctx context.Context, key, value string, opts ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	done, err := f.Txn(ctx).Then(clientv3.OpPut(key, value, opts...)).Commit()
	if err != nil {
		return nil, err
	}
	return &clientv3.PutResponse{Header: done.Header}, nil
}

func (f *fakeKV) Delete(ctx context.Context, key string, _ ...clientv3.OpOption) (*clientv3.DeleteResponse, error) {
	f.mu.Lock()
	there := f.held[key] != nil
	f.mu.Unlock()
	done, err := f.Txn(ctx).Then(clientv3.OpDelete(key)).Commit()
	if err != nil {
		return nil, err
	}
	gone := &clientv3.DeleteResponse{Header: done.Header}
	if there {
		gone.Deleted = 1
	}
	return gone, nil
}

func (f *fakeKV) Txn(context.Context) clientv3.Txn { return &fakeTxn{kv: f} }

type fakeTxn struct {
	kv  *fakeKV
	cmp []clientv3.Cmp
	ops []clientv3.Op
}

func (x *fakeTxn) If(cmp ...clientv3.Cmp) clientv3.Txn  { x.cmp = cmp; return x }
func (x *fakeTxn) Then(ops ...clientv3.Op) clientv3.Txn { x.ops = ops; return x }
func (x *fakeTxn) Else(...clientv3.Op) clientv3.Txn     { return x }

func (x *fakeTxn) Commit() (*clientv3.TxnResponse, error) {
	takes, err := true, error(nil)
	if x.kv.answer != nil {
		takes, err = x.kv.answer(x.ops)
	}
	done := &clientv3.TxnResponse{}
	if takes {
		done = x.apply()
	} else if x.kv.late != nil && errors.Is(err, context.DeadlineExceeded) { // all others are answers: nothing is under way
		x.kv.late(x)
	}
	return done, err
}

// apply makes the transaction, if its conditions hold.
func (x *fakeTxn) apply() *clientv3.TxnResponse {
	f := x.kv
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range x.cmp {
		c := x.cmp[i].GetCompare()
		kv := f.held[string(c.Key)]
		if kv == nil {
			kv = &mvccpb.KeyValue{}
		}
		is, want := kv.ModRevision, c.GetModRevision()
		if c.Target == etcdserverpb.Compare_CREATE {
			is, want = kv.CreateRevision, c.GetCreateRevision()
		}
		if c.Result == etcdserverpb.Compare_EQUAL && is != want || c.Result == etcdserverpb.Compare_LESS && is >= want {
			return &clientv3.TxnResponse{Header: f.header()}
		}
	}
	f.revision++
	for _, op := range x.ops {
		key := string(op.KeyBytes())
		if op.IsDelete() {
			delete(f.held, key)
			continue
		}
		kv := &mvccpb.KeyValue{Key: op.KeyBytes(), Value: bytes.Clone(op.ValueBytes()), ModRevision: f.revision, CreateRevision: f.revision}
		kv.Lease = reflect.ValueOf(op).FieldByName("leaseID").Int() // there is no other way
		if kv.Lease != 0 && !f.leases.lives(clientv3.LeaseID(kv.Lease)) {
			continue // it would fail in etcd
		}
		if was := f.held[key]; was != nil {
			kv.CreateRevision = was.CreateRevision
		}
		f.held[key] = kv
	}
	return &clientv3.TxnResponse{Header: f.header(), Succeeded: true}
}

// puts reports whether operations need room.
func puts(ops []clientv3.Op) bool {
	return slices.ContainsFunc(ops, func(op clientv3.Op) bool { return op.IsPut() })
}

// proposes reports whether operations are those of a proposal, and no fence.
func proposes(ops []clientv3.Op) bool {
	for _, op := range ops {
		if strings.HasPrefix(string(op.KeyBytes()), defaultPrefix+"o/") {
			return true
		}
	}
	return false
}
