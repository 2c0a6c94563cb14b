package collection

import (
	"iter"

	"github.com/oolith-db/oolith/storage"
)

// Get returns the item at an index, or storage.ErrNotFound. With a *DecodeError it also returns the item without its
// value.
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

// Iterate returns an iterator over the items in order of creation, with the guarantees of storage.Layered.Iterate.
//
// An item that does not fit the type is yielded without its value and with a *DecodeError, and the loop may continue.
// Any other error is yielded last, with a zero item.
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
	// Items are in the requested order.
	Items []Item[T] `json:"items"`
	// Next is the cursor of the next page; empty on the last page.
	Next string `json:"next,omitempty"`
	// Revision is storage.Page.Revision: the page includes every change up to it.
	Revision uint64 `json:"revision"`
}

// Page reads a page of the collection, as storage.Layered.Page does. If an item does not fit the type, Page returns a
// *DecodeError and no page. Iterate can skip such items.
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

// Count returns the number of objects in the collection, whether or not they fit the type.
func (c *Collection[T]) Count() (int, error) { return c.store.Count(c.pattern) }
