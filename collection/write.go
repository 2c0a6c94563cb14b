package collection

import (
	"encoding/json"
	"fmt"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Set stores a value at an index.
func (c *Collection[T]) Set(index string, value T) error {
	_, err := c.SetWith(index, value, storage.SetOptions{})
	return err
}

// SetWith is Set with conditions and times. It returns the stored item with the given value.
func (c *Collection[T]) SetWith(index string, value T, opt storage.SetOptions) (Item[T], error) {
	path, err := c.Path(index)
	if err != nil {
		return Item[T]{}, err
	}
	data, err := c.encode("set", path, value)
	if err != nil {
		return Item[T]{}, err
	}
	return c.stored(value)(c.store.SetWith(path, data, opt))
}

// Push stores a value under a new index derived from the time, and returns the index.
func (c *Collection[T]) Push(value T) (index string, err error) {
	it, err := c.PushWith(value, storage.SetOptions{})
	return it.Index, err
}

// PushWith is Push with a time to live. It returns the stored item with the given value.
func (c *Collection[T]) PushWith(value T, opt storage.SetOptions) (Item[T], error) {
	data, err := c.encode("push", c.pattern, value)
	if err != nil {
		return Item[T]{}, err
	}
	return c.stored(value)(c.store.PushWith(c.pattern, data, opt))
}

// stored builds the result of a write.
func (c *Collection[T]) stored(value T) func(meta.Object, error) (Item[T], error) {
	return func(obj meta.Object, err error) (Item[T], error) {
		if err != nil {
			return Item[T]{}, err
		}
		it := place[T](obj)
		it.Value = value
		return it, nil
	}
}

// Del deletes the object at an index, or returns storage.ErrNotFound.
func (c *Collection[T]) Del(index string) error { return c.DelWith(index, storage.DelOptions{}) }

// DelWith is Del with a condition.
func (c *Collection[T]) DelWith(index string, opt storage.DelOptions) error {
	path, err := c.Path(index)
	if err != nil {
		return err
	}
	return c.store.DelWith(path, opt)
}

// DelAll deletes all objects of the collection, atomically.
func (c *Collection[T]) DelAll() error { return c.store.Del(c.pattern) }

// Update changes the value at an index with a function that modifies it in place. It stores the result if no other
// write changed the object in the meantime; otherwise it calls the function again with the newer value. A time to
// live is kept. If there is no object it returns storage.ErrNotFound; see Upsert.
//
// An error of change ends the update without a write and is returned wrapped. Return storage.ErrNoop to leave the
// object as it is. The function runs without a lock. Members of the data that the type does not have are lost;
// package patch keeps them.
func (c *Collection[T]) Update(index string, change func(value *T) error) (Item[T], error) {
	return c.update(index, false, change)
}

// Upsert is Update that starts with the zero value if there is no object, and then creates one.
func (c *Collection[T]) Upsert(index string, change func(value *T) error) (Item[T], error) {
	return c.update(index, true, change)
}

func (c *Collection[T]) update(index string, create bool, change func(value *T) error) (Item[T], error) {
	path, err := c.Path(index)
	if err == nil && change == nil {
		err = fmt.Errorf("collection: update %q: %w, the function is nil", path, storage.ErrInvalidOptions)
	}
	if err != nil {
		return Item[T]{}, err
	}
	var value T
	obj, err := c.store.Update(path, func(old meta.Object) (json.RawMessage, error) {
		var present Item[T]
		switch {
		case old.Data != nil:
			if present, err = item[T](old); err != nil {
				return nil, err
			}
		case !create:
			return nil, storage.ErrNotFound
		}
		value = present.Value
		if err := change(&value); err != nil {
			return nil, err
		}
		return c.encode("update", path, value)
	})
	return c.stored(value)(obj, err)
}
