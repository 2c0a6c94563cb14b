package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// marker marks an existing store.
type marker struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
}

// open reads or creates the marker, and creates the record of this node.
func (s *session) open(endpoints []string, opt storage.LayerOptions) error {
	ctx, cancel := s.timeout()
	defer cancel()
	fresh, err := json.Marshal(marker{formatVersion, strconv.FormatUint(randomID(), 16)})
	if err != nil {
		return err
	}
	absent := []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(s.keys.marker()), "=", 0),
		clientv3.Compare(clientv3.CreateRevision(s.keys.objects()).WithPrefix(), "=", 0),
	}
	var ops []clientv3.Op // create a store
	if !s.options.ReadOnly && !s.options.Existing {
		ops = []clientv3.Op{clientv3.OpPut(s.keys.marker(), string(fresh))}
	}
	made, err := s.client.Txn(ctx).If(absent...).Then(ops...).
		Else(clientv3.OpGet(s.keys.marker()), clientv3.OpGet(s.keys.partial())).Commit()
	if err != nil {
		return err
	}
	if err := s.oneCluster(ctx, endpoints, made.Header.ClusterId); err != nil {
		return err
	}
	if made.Succeeded && ops == nil {
		return fmt.Errorf("there is no store below the prefix %q", s.keys.prefix)
	}
	if !made.Succeeded {
		found := made.Responses[0].GetResponseRange().Kvs
		if len(found) == 0 {
			return fmt.Errorf("there are objects below the prefix %q and no marker %q: it is no store, or its marker was removed",
				s.keys.prefix, s.keys.marker())
		}
		fresh = found[0].Value
	}
	var m marker
	if err := json.Unmarshal(fresh, &m); err != nil {
		return fmt.Errorf("the marker %q cannot be read: expected {\"format\":%d,…}, found %q", s.keys.marker(), formatVersion, fresh)
	}
	if m.Format != formatVersion {
		return fmt.Errorf("the store below the prefix %q has format %d, this build knows %d", s.keys.prefix, m.Format, formatVersion)
	}
	if s.id, err = strconv.ParseUint(m.ID, 16, 64); err != nil {
		return fmt.Errorf("the marker %q names no ID: found %q", s.keys.marker(), fresh)
	}
	if !made.Succeeded && !opt.AllowIncomplete {
		if partial := made.Responses[1].GetResponseRange().Kvs; len(partial) > 0 {
			return enginekit.Incomplete(string(partial[0].Value))
		}
	}
	if s.options.ReadOnly {
		return nil
	}
	put, err := s.client.Put(ctx, s.keys.record(s.node), record{}.encoded())
	if err != nil {
		return err
	}
	s.known = put.Header.Revision
	return nil
}

// oneCluster checks that all reachable members belong to one cluster: a client switches from one member to another.
func (s *session) oneCluster(ctx context.Context, endpoints []string, cluster uint64) error {
	ctx, cancel := context.WithTimeout(ctx, diagnosis)
	defer cancel()
	foreign := make([]error, len(endpoints))
	var all sync.WaitGroup
	for i, endpoint := range endpoints {
		all.Go(func() {
			status, err := s.client.Status(ctx, endpoint)
			if err == nil && status.Header.ClusterId != cluster {
				foreign[i] = fmt.Errorf("the member %s is of another cluster: expected the members of one", endpoint)
			}
		})
	}
	all.Wait()
	for _, err := range foreign {
		if err != nil {
			return err // one error is enough
		}
	}
	return nil
}

// MarkIncomplete implements storage.IncompleteMarker. Nodes that have the store open continue with it.
func (l *Layer) MarkIncomplete(reason string) error {
	s, err := l.active()
	if err != nil {
		return err
	}
	if s.options.ReadOnly {
		return storage.ErrReadOnly
	}
	ctx, cancel := s.timeout()
	defer cancel()
	if reason == "" {
		_, err = s.client.Delete(ctx, s.keys.partial())
	} else {
		_, err = s.client.Put(ctx, s.keys.partial(), reason)
	}
	return s.explain(err)
}
