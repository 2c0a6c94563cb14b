package etcd

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/internal/codec"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// progressPause is the interval at which a node that waits for the writes of others asks for the progress of its
// watch.
const progressPause = 20 * time.Millisecond

// Mirror yields all objects as of one revision.
func (l *Layer) Mirror(ctx context.Context) (uint64, iter.Seq2[meta.Object, error], error) {
	s, err := l.active()
	if err != nil {
		return 0, nil, err
	}
	revision, err := s.now(ctx)
	if err != nil {
		return 0, nil, err
	}
	return whole(revision), s.scan(ctx, []span{prefixed(s.keys.objects())}, revision), nil
}

// scan yields the objects of ranges of keys at a revision of etcd, in the order of keys. Etcd sends them in a stream:
// with pages it would examine all remaining keys again for each page.
func (s *session) scan(ctx context.Context, spans []span, revision int64) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		for _, at := range spans {
			more, err := s.scanSpan(ctx, at, revision, yield)
			if err != nil {
				yield(meta.Object{}, s.explain(err))
				return
			}
			if !more {
				return
			}
		}
	}
}

// scanSpan yields the objects of one range, and reports whether the caller wants more. It ends when the context does,
// or if etcd sends nothing for too long.
func (s *session) scanSpan(ctx context.Context, at span, revision int64, yield func(meta.Object, error) bool) (more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := s.client.GetStream(ctx, at.from, clientv3.WithRange(at.end), clientv3.WithRev(revision))
	if err != nil {
		cancel()
		return false, err
	}
	defer func() {
		cancel()
		for range stream { // the client blocks until the rest is received
		}
	}()
	patience := time.NewTimer(s.options.RequestTimeout)
	defer patience.Stop()
	for {
		patience.Reset(s.options.RequestTimeout)
		var chunk clientv3.RangeStreamResponse
		var ok bool
		select {
		case chunk, ok = <-stream:
		case <-patience.C:
			return false, context.DeadlineExceeded
		}
		if err := chunk.Err(); err != nil || !ok {
			return err == nil, err
		}
		for _, kv := range chunk.Kvs {
			obj, err := s.decode(string(kv.Key), kv.Value, kv.ModRevision)
			if !yield(obj, err) || err != nil {
				return false, nil
			}
		}
	}
}

// decode returns the object at a key.
func (s *session) decode(stored string, value []byte, revision int64) (meta.Object, error) {
	path, _, err := s.keys.path(stored)
	if err != nil {
		return meta.Object{}, err
	}
	obj, err := codec.Decode(path, value) // the advice of enginekit's Decode applies to a store of one node
	if err != nil {
		return meta.Object{}, fmt.Errorf("%w, the key %q in etcd, %w; put an object there with etcd's own tools, or delete it", storage.ErrUndecodable, stored, err)
	}
	obj.Revision = revisionOf(revision, int(obj.Revision&(1<<shift-1)))
	return obj, nil
}

// Follow yields the transactions after a revision.
func (l *Layer) Follow(ctx context.Context, revision uint64) iter.Seq2[storage.SharedCommit, error] {
	return func(yield func(storage.SharedCommit, error) bool) {
		s, err := l.active()
		if err == nil {
			err = s.follow(ctx, etcdRevision(revision), func(c storage.SharedCommit) bool { return yield(c, nil) })
		}
		if err != nil {
			yield(storage.SharedCommit{}, err)
		}
	}
}

// follow watches the changes after a revision of etcd. It returns nil when yield returns false.
func (s *session) follow(ctx context.Context, revision int64, yield func(storage.SharedCommit) bool) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	watch := s.client.Watch(ctx, s.keys.prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1))
	s.seen.Raise(uint64(revision))
	for {
		var response clientv3.WatchResponse
		var ok bool
		select {
		case response, ok = <-watch:
		case <-s.ctx.Done():
			return storage.ErrNotActive
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !ok:
			return storage.ErrUnavailable
		case response.CompactRevision != 0:
			return storage.ErrHistoryGone
		case response.Err() != nil:
			return explain(response.Err())
		}
		// A response contains only complete revisions, because fragments are not requested.
		for events := response.Events; len(events) > 0; {
			n := 1
			for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
				n++
			}
			commit, err := s.commitOf(events[:n])
			if err != nil {
				return err
			}
			if !yield(commit) {
				return nil
			}
			s.seen.Raise(uint64(events[0].Kv.ModRevision))
			events = events[n:]
		}
		if response.IsProgressNotify() {
			if !yield(storage.SharedCommit{Revision: whole(response.Header.Revision)}) {
				return nil
			}
			s.seen.Raise(uint64(response.Header.Revision))
		}
	}
}

// commitOf converts the events of one transaction to a commit.
func (s *session) commitOf(events []*clientv3.Event) (storage.SharedCommit, error) {
	revision := events[0].Kv.ModRevision
	commit := storage.SharedCommit{Revision: whole(revision)}
	var rec *record
	puts, gone := make(map[string]*meta.Object), make(map[string]bool)
	var foreign []storage.SharedChange
	for _, event := range events {
		stored := string(event.Kv.Key)
		if strings.HasPrefix(stored, s.keys.record("")) && event.Type == clientv3.EventTypePut {
			r, err := decodeRecord(stored, event.Kv.Value)
			if err != nil {
				return commit, err
			}
			rec = &r
			continue
		}
		path, ok, err := s.keys.path(stored)
		if err != nil {
			return commit, err
		}
		if !ok {
			continue
		}
		change := storage.SharedChange{Key: path}
		if event.Type == clientv3.EventTypePut {
			obj, err := s.decode(stored, event.Kv.Value, revision)
			if err != nil {
				return commit, err
			}
			change.Object, puts[path] = &obj, &obj
		} else {
			change.Reason, gone[path] = storage.ReasonDeleted, true
		}
		foreign = append(foreign, change)
	}
	if rec == nil {
		commit.Changes = foreign
		return commit, placeForeign(foreign, revision)
	}
	commit.Changes = rec.changes(foreign, puts, gone)
	for i := range commit.Changes {
		placeChange(&commit.Changes[i], revision, i)
	}
	return commit, nil
}

// placeForeign assigns places to the changes of other software. A put gets the place of its envelope if possible,
// because a node that starts later reads that place.
func placeForeign(changes []storage.SharedChange, revision int64) error {
	next := 0
	for i := range changes {
		c := &changes[i]
		if c.Object != nil {
			next = max(next, int(c.Object.Revision&(1<<shift-1)))
		}
		if next >= 1<<shift {
			return fmt.Errorf("%w, revision %d of other software in etcd has too many changes, or places that leave no room for all", storage.ErrUndecodable, revision)
		}
		placeChange(c, revision, next)
		next++
	}
	return nil
}

func placeChange(c *storage.SharedChange, revision int64, place int) {
	c.Revision = revisionOf(revision, place)
	if c.Object != nil {
		c.Object.Revision = c.Revision
	}
}

// changes returns the changes of a record, completed with the events of its transaction. A delete of an absent key
// has no event. It stays, because it has its place.
func (r *record) changes(events []storage.SharedChange, puts map[string]*meta.Object, gone map[string]bool) []storage.SharedChange {
	changes := make([]storage.SharedChange, len(r.Changes))
	for i, c := range r.Changes {
		changes[i] = storage.SharedChange{
			Key: c.Key, Object: puts[c.Key], Pattern: c.Pattern, Clear: c.Clear, Reason: c.Reason, Silent: c.Silent, More: c.More, Stamped: c.Stamped,
		}
		if c.Pattern != "" || c.Clear {
			changes[i].Object = nil
			for _, event := range events {
				if gone[event.Key] {
					changes[i].Gone = append(changes[i].Gone, event.Key)
				}
			}
		}
	}
	return changes
}

// Barrier returns a revision at or above everything committed before the call. It makes sure that Follow reaches it:
// etcd's revision also grows with keys of no store, which the watch does not report by itself.
func (l *Layer) Barrier(ctx context.Context) (uint64, error) {
	s, err := l.active()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.RequestTimeout)
	defer cancel()
	revision, err := s.now(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.reach(ctx, revision); err != nil {
		return 0, s.explain(err)
	}
	return whole(revision), nil
}

// reach returns once Follow has yielded everything up to a revision of etcd.
func (s *session) reach(ctx context.Context, revision int64) error {
	for {
		seen, moved := s.seen.Moved()
		if seen >= uint64(revision) {
			return nil
		}
		if err := s.client.RequestProgress(clientv3.WithRequireLeader(ctx)); err != nil {
			return err
		}
		select {
		case <-moved:
		case <-time.After(progressPause):
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return storage.ErrNotActive
		}
	}
}
