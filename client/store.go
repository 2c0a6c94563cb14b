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

// Store has the calls of a client without contexts, by the names and with the meaning that they have for a
// *storage.Layered: packages collection and patch work on both. All methods may be called from any number of goroutines.
type Store struct {
	client *Client
	ctx    context.Context
}

// Store returns the client's calls without contexts. The end of ctx ends them all.
func (c *Client) Store(ctx context.Context) *Store { return &Store{c, ctx} }

// Get returns the object at a path, or storage.ErrNotFound.
func (s *Store) Get(path string) (meta.Object, error) { return s.client.Get(s.ctx, path) }

// Page returns a part of what matches a pattern; see Client.Page.
func (s *Store) Page(pattern string, opt storage.ListOptions) (storage.Page, error) {
	return s.client.Page(s.ctx, pattern, opt)
}

// Iterate returns what matches a pattern; see Client.Iterate.
func (s *Store) Iterate(pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error] {
	return s.client.Iterate(s.ctx, pattern, opt)
}

// Count returns how many objects match a pattern.
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

// TouchWith gives the object at a path another end; see Client.Touch.
func (s *Store) TouchWith(path string, opt storage.SetOptions) (meta.Object, error) {
	return s.client.Touch(s.ctx, path, opt)
}

// Del removes the object at a path, or all that match a pattern.
func (s *Store) Del(path string) error { return s.client.Del(s.ctx, path, storage.DelOptions{}) }

// DelWith removes the object at a path. A pattern is storage.ErrGlobNotAllowed.
func (s *Store) DelWith(path string, opt storage.DelOptions) error {
	if key.HasGlob(path) {
		return failed("del", path, storage.ErrGlobNotAllowed)
	}
	return s.client.Del(s.ctx, path, opt)
}

// Update changes the object at a path by a function of what is there; see Client.Update.
func (s *Store) Update(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	return s.client.Update(s.ctx, path, change)
}

// Commit makes all changes of a batch, or none; see Client.Commit.
func (s *Store) Commit(batch *storage.Batch) ([]meta.Object, error) {
	return s.client.Commit(s.ctx, batch)
}

// Subscribe follows what matches a pattern, until ctx or that of the Store ends, or Close. It connects at once; an error of
// that is returned, and later on the subscription connects again by itself. Of the options, From alone is for
// clients, and Lag where it is storage.LagReset: how much may wait for a connection is the server's matter. Others
// are storage.ErrInvalidOptions.
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

// storeOf returns the identity of the server's store, which a revision to resume from is one of.
func (c *Client) storeOf(ctx context.Context, pattern string) (string, error) {
	if known := c.identity.Load(); known != nil {
		return *known, nil
	}
	// The first message of a stream has it, whether there is an object or not.
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
