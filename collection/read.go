package collection

import (
	"iter"

	"github.com/oolith-db/oolith/storage"
)

// Get returns the item at an index, or storage.ErrNotFound. With a *DecodeError comes the item
// without its value.
func (c *Collection[T]) Get(index string) (Item[T], error) {
	path, err := c.Path(index)
	if err != nil {
		return Item[T]{}, err
	}
	obj, err := c.store.Get(path)
	if err != nil {
		return Item[T]{}, err
	}
	return item[T](obj)
}

// Iterate returns the items in the order of their creation, as storage.Layered.Iterate reads them:
// as the loop goes on, each that is there all the time exactly once.
//
// An item that does not fit the type comes without its value and with a *DecodeError, and the loop goes on
// behind it if it is let. Any other error comes last, with the zero item.
func (c *Collection[T]) Iterate(opt storage.ListOptions) iter.Seq2[Item[T], error] {
	return func(yield func(Item[T], error) bool) {
		for obj, err := range c.store.Iterate(c.pattern, opt) {
			if err != nil {
				yield(Item[T]{}, err)
				return
			}
			if !yield(item[T](obj)) {
				return
			}
		}
	}
}

// Page is a part of a collection.
type Page[T any] struct {
	// Items are in the order that was asked for.
	Items []Item[T] `json:"items"`
	// Next is the cursor of the page that follows; empty when there is none.
	Next string `json:"next,omitempty"`
	// Revision is storage.Page.Revision: every change up to it is in the page.
	Revision uint64 `json:"revision"`
}

// Page reads a part of the collection, as storage.Layered.Page does. An item that does not fit the type
// is a *DecodeError, and there is no page; Iterate can leave it out.
func (c *Collection[T]) Page(opt storage.ListOptions) (Page[T], error) {
	page, err := c.store.Page(c.pattern, opt)
	if err != nil {
		return Page[T]{}, err
	}
	typed := Page[T]{Items: make([]Item[T], len(page.Objects)), Next: page.Next, Revision: page.Revision}
	for i, obj := range page.Objects {
		if typed.Items[i], err = item[T](obj); err != nil {
			return Page[T]{}, err
		}
	}
	return typed, nil
}

// Count returns how many objects the collection has, whether or not they fit the type.
func (c *Collection[T]) Count() (int, error) { return c.store.Count(c.pattern) }
