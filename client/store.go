package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Store has the calls of a client without contexts, with the names and meanings of *storage.Layered. Packages
// collection and patch work with both. All methods may be called concurrently.
type Store struct {
	client *Client
	ctx    context.Context
}

// Store returns the client's calls without contexts. The end of ctx ends all of them.
func (c *Client) Store(ctx context.Context) *Store { return &Store{c, ctx} }

// Get returns the object at a path, or storage.ErrNotFound.
func (s *Store) Get(path string) (meta.Object, error) { return s.client.Get(s.ctx, path) }

// Page returns a part of the objects that match a pattern; see Client.Page.
func (s *Store) Page(pattern string, opt storage.ListOptions) (storage.Page, error) {
	return s.client.Page(s.ctx, pattern, opt)
}

// Iterate returns an iterator over the objects that match a pattern; see Client.Iterate.
func (s *Store) Iterate(pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error] {
	return s.client.Iterate(s.ctx, pattern, opt)
}

// Count returns the number of objects that match a pattern.
func (s *Store) Count(pattern string) (int, error) { return s.client.Count(s.ctx, pattern) }

// Directories returns the directories directly below a path, "" for the top.
func (s *Store) Directories(path string) ([]storage.Directory, error) {
	return s.client.Directories(s.ctx, path)
}

// SetWith stores data at a path; see Client.Set.
func (s *Store) SetWith(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
	return s.client.Set(s.ctx, path, data, opt)
}

// PushWith stores data under a new index; see Client.Push.
func (s *Store) PushWith(pattern string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
	return s.client.Push(s.ctx, pattern, data, opt)
}

// TouchWith changes the expiry of the object at a path; see Client.Touch.
func (s *Store) TouchWith(path string, opt storage.SetOptions) (meta.Object, error) {
	return s.client.Touch(s.ctx, path, opt)
}

// Del deletes the object at a path, or all objects that match a pattern.
func (s *Store) Del(path string) error { return s.client.Del(s.ctx, path, storage.DelOptions{}) }

// DelWith deletes the object at a path. A pattern fails with storage.ErrGlobNotAllowed.
func (s *Store) DelWith(path string, opt storage.DelOptions) error {
	if key.HasGlob(path) {
		return failed("del", path, storage.ErrGlobNotAllowed)
	}
	return s.client.Del(s.ctx, path, opt)
}

// Update changes the object at a path with a function; see Client.Update.
func (s *Store) Update(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	return s.client.Update(s.ctx, path, change)
}

// Commit makes all changes of a batch or none; see Client.Commit.
func (s *Store) Commit(batch *storage.Batch) ([]meta.Object, error) {
	return s.client.Commit(s.ctx, batch)
}

// Subscribe subscribes to the objects that match a pattern until ctx or the Store's context ends, or until Close. It
// connects immediately and returns an error of that attempt; later it reconnects by itself. Only the options From and
// Lag apply, and Lag must be storage.LagReset, because the server limits the backlog of a connection. Other options
// fail with storage.ErrInvalidOptions.
func (s *Store) Subscribe(ctx context.Context, pattern string, opt storage.SubscribeOptions) (*Subscription, error) {
	if opt != (storage.SubscribeOptions{From: opt.From}) {
		return nil, failed("subscribe", pattern, fmt.Errorf("%w, over a network only From is supported", storage.ErrInvalidOptions))
	}
	own := SubscribeOptions{}
	if opt.From > 0 {
		identity, err := s.client.storeOf(ctx, pattern)
		if err != nil {
			return nil, failed("subscribe", pattern, err)
		}
		own.Token = fmt.Sprintf("%s.%d", identity, opt.From)
	}
	sub, err := s.client.subscribe(ctx, pattern, own)
	if err != nil {
		return nil, err
	}
	if err := sub.connect(ctx); err != nil {
		sub.Close()
		return nil, failed("subscribe", pattern, err)
	}
	ended := context.AfterFunc(s.ctx, func() { sub.end(context.Cause(s.ctx)) })
	context.AfterFunc(sub.life, func() { ended() })
	return sub, nil
}

// storeOf returns the identity of the server's store, to which a revision to resume from belongs.
func (c *Client) storeOf(ctx context.Context, pattern string) (string, error) {
	if known := c.identity.Load(); known != nil {
		return *known, nil
	}
	// The first message of a stream contains it, whether or not there is an object.
	sub, err := c.Subscribe(pattern, SubscribeOptions{Retry: func(err error) error { return err }})
	if err != nil {
		return "", err
	}
	defer sub.Close()
	for sub.Token() == "" {
		if _, err := sub.Next(ctx); err != nil {
			return "", err
		}
	}
	identity, _, _ := strings.Cut(sub.Token(), ".")
	return identity, nil
}
