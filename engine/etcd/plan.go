package etcd

import (
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// plan makes the guards and operations of a transaction whose record has the given size. It rejects a transaction
// that exceeds etcd's limits, of which nothing is sent.
func (s *session) plan(t *storage.SharedTransaction, record int) (guards []clientv3.Cmp, ops []clientv3.Op, err error) {
	exclusive := len(t.Guards) > maxGuards
	for i, c := range t.Changes {
		switch {
		case c.Clear || c.Pattern != "":
			spans := s.keys.spans(c.Pattern)
			if spans == nil {
				exclusive = true
				for _, path := range c.Gone {
					ops = append(ops, clientv3.OpDelete(s.keys.object(path)))
				}
			}
			for _, at := range spans {
				ops = append(ops, clientv3.OpDelete(at.from, clientv3.WithRange(at.end)))
			}
		case c.Object == nil:
			ops = append(ops, clientv3.OpDelete(s.keys.object(c.Key)))
		default:
			if err := enginekit.CheckPut(c.Key, c.Object, s.options.MaxRequest); err != nil {
				return nil, nil, &storage.EntryError{Index: i, Err: err}
			}
			obj := *c.Object
			obj.Revision = uint64(i)
			ops = append(ops, clientv3.OpPut(s.keys.object(c.Key), string(enginekit.AppendObject(nil, c.Key, &obj))))
		}
	}
	if len(ops) > maxChanges {
		return nil, nil, &storage.EntryError{Index: -1, Err: fmt.Errorf("%d keys, etcd takes at most %d in a transaction: delete a directory as a whole, or in parts", len(ops), maxChanges)}
	}
	if exclusive {
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(s.keys.fence()), "<", etcdRevision(t.Base)+1))
	}
	for _, g := range t.Guards {
		if k, ok := g.Lock.(*lock); ok {
			guards = append(guards, k.held())
		} else if !exclusive {
			guards = append(guards, s.guard(g))
		}
	}
	if size, most := sizeOf(guards, ops)+record, s.options.MaxRequest+requestSlack; size > most {
		return nil, nil, &storage.EntryError{Index: -1, Err: fmt.Errorf("a transaction of %d changes has %d bytes with its keys and conditions, etcd takes at most %d: "+
			"make smaller ones, or raise etcd's --max-request-bytes and the option max-request", len(t.Changes), size, most)}
	}
	return guards, nested(ops), nil
}

// framing is the maximum overhead of etcd's request around the parts of an operation or a condition.
const framing = 48

// sizeOf returns a upper bound of the size of conditions and operations in a request.
func sizeOf(guards []clientv3.Cmp, ops []clientv3.Op) (n int) {
	for _, op := range ops {
		n += framing + len(op.KeyBytes()) + len(op.RangeBytes()) + len(op.ValueBytes())
	}
	for i := range guards {
		n += framing + len(guards[i].KeyBytes()) + len(guards[i].GetCompare().RangeEnd)
	}
	return n
}

func (s *session) guard(g storage.Guard) clientv3.Cmp {
	if g.OfDirectory {
		at := prefixed(s.keys.directory(g.Directory))
		return clientv3.Compare(clientv3.ModRevision(at.from).WithRange(at.end), "<", etcdRevision(g.Revision)+1)
	}
	return clientv3.Compare(clientv3.ModRevision(s.keys.object(g.Path)), "=", etcdRevision(g.Revision))
}

// nested groups operations into transactions within the transaction if there are too many for one.
func nested(ops []clientv3.Op) []clientv3.Op {
	if len(ops) <= maxGuards {
		return ops
	}
	var outer []clientv3.Op
	for len(ops) > 0 {
		n := min(len(ops), nestedOps)
		outer = append(outer, clientv3.OpTxn(nil, ops[:n:n], nil))
		ops = ops[n:]
	}
	return outer
}
