// Package collection reads and writes the objects of one list as values of a Go type.
//
//	type City struct {
//		Name       string `json:"name"`
//		Population int    `json:"population"`
//	}
//
//	cities, err := collection.New[City](store, "cities/*")
//	if err != nil {
//		return err
//	}
//	index, err := cities.Push(City{Name: "Lisbon", Population: 545_796})
//	_, err = cities.Update(index, func(city *City) error {
//		city.Population++
//		return nil
//	})
//	for city, err := range cities.Iterate(storage.ListOptions{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(city.Index, city.Value.Name)
//	}
//
// # Values and data
//
// Package encoding/json converts between values and data. It skips members that the type does not have, keeps the
// zero value of fields that the data does not have, matches names in any case, and leaves a value zero for null. For
// stricter rules the type can implement json.Unmarshaler. Each value is new and shares nothing with the store.
//
// Data that does not fit the type is a *DecodeError with the path and the type. It does not affect other objects: an
// iteration and a subscription continue after it.
package collection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Collection is a list of objects, such as "users/*", as values of a type. It holds only the store and the pattern,
// so there may be several collections of one list, and other writers. All methods may be called concurrently.
type Collection[T any] struct {
	store     calls
	subscribe func(ctx context.Context, pattern string, opt storage.SubscribeOptions) (Cursor, error)
	pattern   string
}

// Store is the store of a collection: a *storage.Layered with its *storage.Subscription, or a *client.Store with its
// own subscriptions. Its calls mean the same as those of storage.Layered.
type Store[S Cursor] interface {
	calls
	Subscribe(ctx context.Context, pattern string, opt storage.SubscribeOptions) (S, error)
}

// calls are the calls of a store that are the same for both kinds.
type calls interface {
	Get(path string) (meta.Object, error)
	Page(pattern string, opt storage.ListOptions) (storage.Page, error)
	Iterate(pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error]
	Count(pattern string) (int, error)
	SetWith(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error)
	PushWith(pattern string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error)
	Update(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error)
	Del(path string) error
	DelWith(path string, opt storage.DelOptions) error
}

// Cursor is a subscription of the store.
type Cursor interface {
	Next(ctx context.Context) (storage.Notice, error)
	Revision() uint64
	Lag() int
	Close()
}

// Item is an object of a collection.
type Item[T any] struct {
	// Index is the last segment of Path.
	Index string `json:"index"`
	// Path is the path of the object.
	Path string `json:"path"`
	// Created is the time of creation, in Unix nanoseconds.
	Created int64 `json:"created"`
	// Updated is the time of the last overwrite, in Unix nanoseconds; 0 for none.
	Updated int64 `json:"updated"`
	// Revision is the position of the object's last change in the commit order.
	Revision uint64 `json:"revision"`
	// Expires is when the object expires, in Unix nanoseconds; 0 for never.
	Expires int64 `json:"expires,omitempty"`
	// Value is the decoded data of the object.
	Value T `json:"value"`
}

// DecodeError reports that the data of an object does not fit the type of its collection.
type DecodeError struct {
	// Path is the path of the object.
	Path string
	// Type is the type of the collection.
	Type reflect.Type
	// Err is the error of encoding/json.
	Err error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("collection: object %q does not fit %v: %v", e.Path, e.Type, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// New returns the collection of a list of a store. The pattern must have exactly one '*', as its whole last segment,
// such as "users/*" or "users/17/posts/*": a collection is one directory. Any other pattern fails with
// storage.ErrInvalidPattern.
//
// The type of the store's subscriptions is inferred: New[City](store, "cities/*").
func New[T any, S Cursor](store Store[S], pattern string) (*Collection[T], error) {
	err := key.Check(pattern)
	if err == nil && !key.HasGlob(pattern) {
		err = errors.New("it has no '*'")
	}
	if err == nil {
		err = key.ValidateGlob(pattern)
	}
	if err == nil && isNil(store) {
		return nil, fmt.Errorf("collection: pattern %s: %w, the store is nil", clip(pattern), storage.ErrInvalidOptions)
	}
	if err != nil {
		return nil, fmt.Errorf("collection: pattern %s: %w, expected one '*' as the whole last segment, %w",
			clip(pattern), storage.ErrInvalidPattern, err)
	}
	subscribe := func(ctx context.Context, pattern string, opt storage.SubscribeOptions) (Cursor, error) {
		return store.Subscribe(ctx, pattern, opt)
	}
	return &Collection[T]{store, subscribe, pattern}, nil
}

// isNil reports whether the store is nil or a nil pointer.
func isNil(store any) bool {
	value := reflect.ValueOf(store)
	return !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil()
}

// Pattern returns the pattern of the collection.
func (c *Collection[T]) Pattern() string { return c.pattern }

// Path returns the path of an index. It fails with storage.ErrInvalidPath unless the index is one valid segment.
func (c *Collection[T]) Path(index string) (string, error) {
	err := key.Check(index)
	if err == nil && (key.HasGlob(index) || key.Parent(index) != "") {
		err = errors.New("expected a single path segment")
	}
	path := c.pattern[:len(c.pattern)-1] + index
	if err == nil {
		err = key.Check(path)
	}
	if err != nil {
		return "", fmt.Errorf("collection %q: index %s: %w, %w", c.pattern, clip(index), storage.ErrInvalidPath, err)
	}
	return path, nil
}

// clip quotes a text of any length for an error.
func clip(text string) string {
	const most = 80 // maximum bytes of the text in an error
	if len(text) > most {
		return fmt.Sprintf("%q... (%d bytes)", text[:most], len(text))
	}
	return fmt.Sprintf("%q", text)
}

// encode returns the data of a value.
func (c *Collection[T]) encode(op, at string, value T) (json.RawMessage, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("collection: %s %q: %v cannot be encoded as JSON, %w", op, at, reflect.TypeFor[T](), err)
	}
	return data, nil
}

// item returns the item of an object.
func item[T any](obj meta.Object) (Item[T], error) {
	it := place[T](obj)
	if err := json.Unmarshal(obj.Data, &it.Value); err != nil {
		// A partly decoded value is discarded.
		return place[T](obj), &DecodeError{Path: obj.Path, Type: reflect.TypeFor[T](), Err: err}
	}
	return it, nil
}

// place returns an item without its value.
func place[T any](obj meta.Object) Item[T] {
	path := strings.Clone(obj.Path) // an item is kept without the object's data
	return Item[T]{
		Index: key.LastIndex(path), Path: path, Created: obj.Created, Updated: obj.Updated,
		Revision: obj.Revision, Expires: obj.Expires,
	}
}
