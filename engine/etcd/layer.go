package etcd

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// The layer without a store, as copies and checks use it. Each call asks the cluster.

// Get returns the object at a path.
func (l *Layer) Get(path string) (meta.Object, error) {
	s, err := l.active()
	if err == nil {
		err = enginekit.CheckPath(path)
	}
	if err != nil {
		return meta.Object{}, err
	}
	ctx, cancel := s.timeout()
	defer cancel()
	got, err := s.client.Get(ctx, s.keys.object(path))
	switch {
	case err != nil:
		return meta.Object{}, s.explain(err)
	case len(got.Kvs) == 0:
		return meta.Object{}, storage.ErrNotFound
	}
	return s.decode(string(got.Kvs[0].Key), got.Kvs[0].Value, got.Kvs[0].ModRevision)
}

// Scan yields the matches of a pattern at one revision.
func (l *Layer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		err := enginekit.CheckScanned(pattern)
		var s *session
		if err == nil {
			s, err = l.active()
		}
		if err != nil {
			yield(meta.Object{}, err)
			return
		}
		revision, err := s.now(s.ctx)
		if err != nil {
			yield(meta.Object{}, err)
			return
		}
		spans := s.keys.spans(pattern)
		if spans == nil {
			spans = []span{s.keys.around(pattern)}
		}
		for obj, err := range s.scan(s.ctx, spans, revision) {
			if err == nil && pattern != "" && !key.Match(pattern, obj.Path) {
				continue
			}
			if !yield(obj, err) || err != nil {
				return
			}
		}
	}
}

// GetList returns the matches of a glob, oldest first.
func (l *Layer) GetList(pattern string) ([]meta.Object, error) {
	if !l.Active() {
		return nil, storage.ErrNotActive
	}
	if err := enginekit.CheckPattern(pattern); err != nil {
		return nil, err
	}
	objects := []meta.Object{}
	for obj, err := range l.Scan(pattern) {
		if err != nil {
			return nil, err
		}
		objects = append(objects, obj)
	}
	slices.SortFunc(objects, func(a, b meta.Object) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.Path, b.Path))
	})
	return objects, nil
}

// Load returns everything.
func (l *Layer) Load() (map[string]*meta.Object, error) {
	objects := make(map[string]*meta.Object)
	for obj, err := range l.Scan("") {
		if err != nil {
			return nil, err
		}
		objects[obj.Path] = &obj
	}
	return objects, nil
}

// Keys returns all paths in byte order.
func (l *Layer) Keys() ([]string, error) {
	s, err := l.active()
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.timeout()
	defer cancel()
	at := prefixed(s.keys.objects())
	got, err := s.client.Get(ctx, at.from, clientv3.WithRange(at.end), clientv3.WithKeysOnly())
	if err != nil {
		return nil, s.explain(err)
	}
	paths := make([]string, len(got.Kvs))
	for i, kv := range got.Kvs {
		if paths[i], _, err = s.keys.path(string(kv.Key)); err != nil {
			return nil, err
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// Set puts an object.
func (l *Layer) Set(path string, obj *meta.Object) error {
	if !l.Active() {
		return storage.ErrNotActive
	}
	if err := enginekit.CheckPut(path, obj, l.options.MaxRequest); err != nil {
		return err
	}
	return l.change(storage.SharedChange{Key: path, Object: obj})
}

// Del deletes an object, or returns storage.ErrNotFound.
func (l *Layer) Del(path string) error {
	s, err := l.active()
	if err == nil {
		err = enginekit.CheckPath(path)
	}
	if err != nil {
		return err
	}
	if s.options.ReadOnly {
		return storage.ErrReadOnly
	}
	ctx, cancel := s.timeout()
	defer cancel()
	there, err := s.client.Get(ctx, s.keys.object(path), clientv3.WithKeysOnly())
	switch {
	case err != nil:
		return s.explain(err)
	case len(there.Kvs) == 0:
		return storage.ErrNotFound
	}
	return l.change(storage.SharedChange{Key: path, Reason: storage.ReasonDeleted})
}

// Clear removes everything.
func (l *Layer) Clear() {
	if l.Active() {
		_ = l.change(storage.SharedChange{Clear: true, Reason: storage.ReasonCleared}) // a failure shows in what is left
	}
}

func (l *Layer) change(c storage.SharedChange) error {
	_, err := l.Propose(context.Background(), &storage.SharedTransaction{Changes: []storage.SharedChange{c}})
	return enginekit.Alone(err)
}

// LastRevision returns a revision of the order at or above that of every object.
func (l *Layer) LastRevision() (uint64, error) {
	s, err := l.active()
	if err != nil {
		return 0, err
	}
	revision, err := s.now(s.ctx)
	if err != nil {
		return 0, err
	}
	return whole(revision), nil
}
