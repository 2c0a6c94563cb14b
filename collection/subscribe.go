package collection

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// Notice is one thing that a subscription tells.
type Notice[T any] struct {
	// Kind says what: an item of the state, that the state is complete, an item that was stored or
	// removed, that all is told anew, or that what changed follows.
	Kind storage.NoticeKind
	// Revision is the place of a change in the commit order; of an item of the state, that of its last
	// change; of storage.NoticeLive, storage.NoticeReset and storage.NoticeCatchUp, the revision up to
	// which all is known then.
	Revision uint64
	// Item is what is there, was stored or was removed; zero for storage.NoticeLive, storage.NoticeReset and
	// storage.NoticeCatchUp.
	Item Item[T]
	// More says that the next notice is a part of the same change. Who resumes from a revision later
	// takes that of a notice without More.
	More bool
}

// Subscription is a subscription of the store whose notices hold values of a type.
//
// Next is for one goroutine at a time. All other methods may be called from any goroutine.
type Subscription[T any] struct {
	subscription Cursor
}

// Subscribe follows the collection: its state, then each change, as the store's Subscribe tells
// them. From a server it has no more of an item that was removed than where it was. The context ends the subscription, not only this call.
func (c *Collection[T]) Subscribe(ctx context.Context, opt storage.SubscribeOptions) (*Subscription[T], error) {
	s, err := c.subscribe(ctx, c.pattern, opt)
	if err != nil {
		return nil, err
	}
	return &Subscription[T]{s}, nil
}

// Next returns the next notice, as storage.Subscription.Next does.
//
// An object that does not fit the type comes as its notice, with all but the value, and with
// a *DecodeError. The subscription goes on: the next call returns what follows. So nothing
// is missed, and whoever keeps a copy of the collection knows which item it cannot hold.
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

// All returns what Next returns, one after the other. A *DecodeError does not end the loop; any other
// error does, and comes last. The subscription stays open when the loop is left early.
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

// Revision returns the revision up to which all changes were told, to resume from; 0 before the
// first storage.NoticeLive.
func (s *Subscription[T]) Revision() uint64 { return s.subscription.Revision() }

// Lag returns how many changes wait for Next.
func (s *Subscription[T]) Lag() int { return s.subscription.Lag() }

// Close ends the subscription. It may be called any number of times.
func (s *Subscription[T]) Close() { s.subscription.Close() }
