package collection

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// Notice is one message of a subscription.
type Notice[T any] struct {
	// Kind is the kind of notice; see storage.NoticeKind.
	Kind storage.NoticeKind
	// Revision is the position of a change in the commit order. For an item of the state it is the revision of the
	// item's last change. For storage.NoticeLive, storage.NoticeReset and storage.NoticeCatchUp it is the revision up
	// to which the subscriber is then current.
	Revision uint64
	// Item is the existing, stored or deleted item; zero for storage.NoticeLive, storage.NoticeReset and
	// storage.NoticeCatchUp.
	Item Item[T]
	// More means that the next notice is part of the same change. To resume later, use the revision of a notice
	// without More.
	More bool
}

// Subscription is a subscription of the store with values of a type.
//
// Only one goroutine at a time may call Next. All other methods may be called concurrently.
type Subscription[T any] struct {
	subscription Cursor
}

// Subscribe subscribes to the collection: the state first, then each change, as in the store's Subscribe. Over a
// network, a deleted item has only its path. The context ends the subscription, not only this call.
func (c *Collection[T]) Subscribe(ctx context.Context, opt storage.SubscribeOptions) (*Subscription[T], error) {
	s, err := c.subscribe(ctx, c.pattern, opt)
	if err != nil {
		return nil, err
	}
	return &Subscription[T]{s}, nil
}

// Next returns the next notice, as storage.Subscription.Next does.
//
// An object that does not fit the type is returned as its notice without the value, together with a *DecodeError. The
// subscription continues with the next call. Nothing is missed, and a caller that mirrors the collection knows which
// item it lacks.
func (s *Subscription[T]) Next(ctx context.Context) (Notice[T], error) {
	n, err := s.subscription.Next(ctx)
	if err != nil {
		return Notice[T]{}, err
	}
	typed := Notice[T]{Kind: n.Kind, Revision: n.Revision, More: n.More}
	switch {
	case n.Object != nil && n.Object.Data == nil: // over a network nobody tells what was removed
		typed.Item = place[T](*n.Object)
	case n.Object != nil:
		typed.Item, err = item[T](*n.Object)
	case n.Path != "":
		typed.Item.Path = strings.Clone(n.Path)
		typed.Item.Index = key.LastIndex(typed.Item.Path)
	}
	return typed, err
}

// All returns an iterator over the results of Next. A *DecodeError does not end the loop. Any other error is yielded
// last and ends it. Leaving the loop early keeps the subscription open.
func (s *Subscription[T]) All(ctx context.Context) iter.Seq2[Notice[T], error] {
	return func(yield func(Notice[T], error) bool) {
		for {
			notice, err := s.Next(ctx)
			if !yield(notice, err) || err != nil && !isDecodeError(err) {
				return
			}
		}
	}
}

func isDecodeError(err error) bool {
	_, ok := errors.AsType[*DecodeError](err)
	return ok
}

// Revision returns the revision up to which all changes were delivered, for resuming; 0 before the first
// storage.NoticeLive.
func (s *Subscription[T]) Revision() uint64 { return s.subscription.Revision() }

// Lag returns the number of changes that wait for Next.
func (s *Subscription[T]) Lag() int { return s.subscription.Lag() }

// Close ends the subscription. It may be called several times.
func (s *Subscription[T]) Close() { s.subscription.Close() }
