package collection_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/collection"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/servertest"
	"github.com/oolith-db/oolith/storage"
)

type city struct {
	Name  string
	Trams int
}

func newStore(t testing.TB) *storage.Layered {
	t.Helper()
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// home is where collections of a test are: in a store, or in one that a server has.
type home struct {
	*storage.Layered
	remote *client.Store // nil for the store itself
}

// local is a store of this process.
func local(t testing.TB) *home { return &home{Layered: newStore(t)} }

// both runs a test on a store of this process, and on one that a server has.
func both(t *testing.T, test func(t *testing.T, store *home)) {
	t.Helper()
	t.Run("store", func(t *testing.T) { test(t, local(t)) })
	t.Run("server", func(t *testing.T) {
		s := servertest.Start(t, server.Options{})
		test(t, &home{s.Store, s.Client.Store(t.Context())})
	})
}

// newCollection is collection.New of the place that a home stands for.
func newCollection[T any](store *home, pattern string) (*collection.Collection[T], error) {
	if store.remote != nil {
		return collection.New[T](store.remote, pattern)
	}
	return collection.New[T](store.Layered, pattern)
}

func open[T any](t testing.TB, store *home, pattern string) *collection.Collection[T] {
	t.Helper()
	c, err := newCollection[T](store, pattern)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// raw stores data that no collection made.
func raw(t testing.TB, store *home, path, data string) {
	t.Helper()
	if _, err := store.Set(path, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func TestNew(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		for _, test := range []struct{ pattern, text string }{
			{"users", "it has no '*'"},
			{"users/1", "it has no '*'"},
			{"", "empty path"},
			{"users/*/posts/*", "at most one '*'"},
			{"*/posts", "not at the end"},
			{"users/a*", "not at the end"},
			{"users//*", "empty segment"},
			{strings.Repeat("a", 2000) + "/*", "(2002 bytes)"},
		} {
			if _, err := newCollection[city](store, test.pattern); !errors.Is(err, storage.ErrInvalidPattern) || !strings.Contains(err.Error(), test.text) || len(err.Error()) > 300 {
				t.Errorf("pattern %.20q: %v, want %v with %q", test.pattern, err, storage.ErrInvalidPattern, test.text)
			}
		}
		for _, pattern := range []string{"*", "users/*", "a/b/c/*"} {
			if got := open[city](t, store, pattern).Pattern(); got != pattern {
				t.Errorf("pattern %q became %q", pattern, got)
			}
		}
	})
}

// TestIndexesStayInTheCollection shows that no index names an object elsewhere.
func TestIndexesStayInTheCollection(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		cities := open[city](t, store, "cities/*")
		long := open[city](t, store, strings.Repeat("a", 1000)+"/*")
		raw(t, store, "cities/a/b", `{}`)
		calls := map[string]func(c *collection.Collection[city], index string) error{
			"Get":    func(c *collection.Collection[city], i string) error { _, err := c.Get(i); return err },
			"Set":    func(c *collection.Collection[city], i string) error { return c.Set(i, city{}) },
			"Del":    func(c *collection.Collection[city], i string) error { return c.Del(i) },
			"Update": func(c *collection.Collection[city], i string) error { _, err := c.Update(i, nil); return err },
			"Upsert": func(c *collection.Collection[city], i string) error { _, err := c.Upsert(i, nil); return err },
			"Path":   func(c *collection.Collection[city], i string) error { _, err := c.Path(i); return err },
		}
		for name, call := range calls {
			for _, index := range []string{"", "a/b", "*", "a*", "..", "é", "/", strings.Repeat("a", 2000)} {
				if err := call(cities, index); !errors.Is(err, storage.ErrInvalidPath) || !strings.Contains(err.Error(), `collection "cities/*"`) {
					t.Errorf("%s(%.20q): %v, want %v", name, index, err, storage.ErrInvalidPath)
				}
			}
			if err := call(long, strings.Repeat("b", 30)); !errors.Is(err, storage.ErrInvalidPath) {
				t.Errorf("%s with a path that is too long: %v, want %v", name, err, storage.ErrInvalidPath)
			}
		}
		if n, err := cities.Count(); err != nil || n != 0 {
			t.Errorf("%d objects, %v, want none", n, err)
		}
	})
}

func TestReadsAndWrites(t *testing.T) {
	for _, pattern := range []string{"cities/*", "*"} {
		t.Run(pattern, func(t *testing.T) {
			store := local(t)
			cities := open[city](t, store, pattern)
			if _, err := cities.Get("lisbon"); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("Get of nothing: %v", err)
			}
			if err := cities.Set("lisbon", city{"Lisbon", 58}); err != nil {
				t.Fatal(err)
			}
			index, err := cities.Push(city{"Porto", 3})
			if err != nil {
				t.Fatal(err)
			}
			if err := cities.Set("lisbon", city{"Lisbon", 57}); err != nil {
				t.Fatal(err)
			}
			obj, err := store.Get(strings.TrimSuffix(pattern, "*") + "lisbon")
			if err != nil || string(obj.Data) != `{"Name":"Lisbon","Trams":57}` {
				t.Fatalf("the store has %s, %v", obj.Data, err)
			}
			want := collection.Item[city]{
				Index: "lisbon", Path: obj.Path, Created: obj.Created, Updated: obj.Updated,
				Revision: 3, Value: city{"Lisbon", 57},
			}
			if got, err := cities.Get("lisbon"); err != nil || got != want || got.Updated == 0 {
				t.Errorf("Get: %+v, %v, want %+v", got, err, want)
			}
			var names []string
			for it, err := range cities.Iterate(storage.ListOptions{Descending: true}) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, it.Index+" "+it.Value.Name)
			}
			if want := []string{index + " Porto", "lisbon Lisbon"}; !slices.Equal(names, want) {
				t.Errorf("Iterate: %q, want %q", names, want)
			}
			if err := cities.Del(index); err != nil {
				t.Error(err)
			}
			if err := cities.Del(index); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("Del of nothing: %v", err)
			}
			if err := cities.DelAll(); err != nil {
				t.Error(err)
			}
			if n, err := cities.Count(); n != 0 || err != nil {
				t.Errorf("Count: %d, %v, want 0", n, err)
			}
		})
	}
}

func TestConditionsAndTimes(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		cities := open[city](t, store, "cities/*")
		before := time.Now().UnixNano()
		first, err := cities.SetWith("lisbon", city{"Lisbon", 1}, storage.SetOptions{IfAbsent: true, TTL: time.Hour})
		if err != nil || first.Value.Trams != 1 || first.Expires < before+int64(time.Hour) || first.Path != "cities/lisbon" {
			t.Fatalf("%+v, %v", first, err)
		}
		if _, err := cities.SetWith("lisbon", city{}, storage.SetOptions{IfAbsent: true}); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("IfAbsent: %v", err)
		}
		if err := cities.DelWith("lisbon", storage.DelOptions{IfRevision: first.Revision + 1}); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("DelWith another revision: %v", err)
		}
		pushed, err := cities.PushWith(city{"Porto", 2}, storage.SetOptions{TTL: time.Hour})
		if err != nil || pushed.Expires == 0 || pushed.Value.Name != "Porto" || pushed.Index == "" {
			t.Errorf("%+v, %v", pushed, err)
		}
		updated, err := cities.Update("lisbon", func(c *city) error { c.Trams++; return nil })
		if err != nil || updated.Value != (city{"Lisbon", 2}) || updated.Expires != first.Expires || updated.Created != first.Created {
			t.Errorf("%+v, %v, want two trams and the expiry of %+v", updated, err, first)
		}
	})
}

func TestPages(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		cities := open[city](t, store, "cities/*")
		for i := range 25 {
			if _, err := cities.Push(city{Trams: i}); err != nil {
				t.Fatal(err)
			}
		}
		var seen []int
		opt := storage.ListOptions{Limit: 10}
		for pages := 1; ; pages++ {
			page, err := cities.Page(opt)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range page.Items {
				seen = append(seen, it.Value.Trams)
			}
			if opt.Cursor = page.Next; opt.Cursor == "" {
				if pages != 3 {
					t.Errorf("%d pages, want 3", pages)
				}
				break
			}
		}
		if len(seen) != 25 || !slices.IsSorted(seen) {
			t.Errorf("the pages held %v, want 0 to 24", seen)
		}
		if _, err := cities.Page(storage.ListOptions{Limit: -1}); !errors.Is(err, storage.ErrInvalidLimit) {
			t.Errorf("a negative limit: %v", err)
		}
	})
}

func TestUpdate(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		cities := open[city](t, store, "cities/*")
		add := func(c *city) error { c.Trams++; return nil }
		if _, err := cities.Update("lisbon", add); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Update of nothing: %v, want %v", err, storage.ErrNotFound)
		}
		for want := 1; want <= 2; want++ {
			if it, err := cities.Upsert("lisbon", add); err != nil || it.Value.Trams != want || it.Index != "lisbon" {
				t.Errorf("Upsert: %+v, %v, want %d", it, err, want)
			}
		}
		refusal := errors.New("no more trams")
		if it, err := cities.Update("lisbon", func(c *city) error { c.Trams = 9; return refusal }); !errors.Is(err, refusal) || it != (collection.Item[city]{}) {
			t.Errorf("an update that refuses: %+v, %v", it, err)
		}
		if it, err := cities.Get("lisbon"); err != nil || it.Value.Trams != 2 || it.Revision != 2 {
			t.Errorf("after the refusal: %+v, %v", it, err)
		}
	})
}

// TestUpdateRetries lets another writer be faster, and many at once.
func TestUpdateRetries(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		cities := open[city](t, store, "cities/*")
		if err := cities.Set("lisbon", city{Name: "first"}); err != nil {
			t.Fatal(err)
		}
		calls := 0
		it, err := cities.Update("lisbon", func(c *city) error {
			if calls++; calls == 1 {
				if err := cities.Set("lisbon", city{Name: "second", Trams: 5}); err != nil {
					t.Error(err)
				}
			}
			c.Trams++
			return nil
		})
		if want := (city{"second", 6}); err != nil || it.Value != want || calls != 2 {
			t.Errorf("%+v after %d calls, %v, want %+v after 2", it.Value, calls, err, want)
		}
		const goroutines, each = 8, 100
		var adding sync.WaitGroup
		for range goroutines {
			adding.Go(func() {
				for range each {
					if _, err := cities.Update("lisbon", func(c *city) error { c.Trams++; return nil }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		adding.Wait()
		if it, err := cities.Get("lisbon"); err != nil || it.Value.Trams != 6+goroutines*each {
			t.Errorf("%d trams, %v, want %d", it.Value.Trams, err, 6+goroutines*each)
		}
	})
}

// isDecodeError demands a *DecodeError that names the path, the type and what encoding/json says.
func isDecodeError(t *testing.T, err error, path string) {
	t.Helper()
	var decode *collection.DecodeError
	var wrongType *json.UnmarshalTypeError
	if !errors.As(err, &decode) || !errors.As(err, &wrongType) || decode.Path != path || decode.Type != reflect.TypeFor[city]() {
		t.Fatalf("%v, want a DecodeError of %s", err, path)
	}
	for _, want := range []string{fmt.Sprintf("%q", path), "collection_test.city", "cannot unmarshal string into Go struct field city.Trams"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to hold %q", err, want)
		}
	}
}

// TestDataThatDoesNotFit shows what each reader makes of one object of three that is no city.
func TestDataThatDoesNotFit(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		cities := open[city](t, store, "cities/*")
		raw(t, store, "cities/a", `{"name":"A","trams":1,"more":true}`)
		raw(t, store, "cities/b", `{"name":"B","trams":"many"}`)
		raw(t, store, "cities/c", `null`)

		it, err := cities.Get("b")
		isDecodeError(t, err, "cities/b")
		if it.Path != "cities/b" || it.Revision != 2 || it.Value != (city{}) {
			t.Errorf("with the error came %+v, want the place without a value", it)
		}
		_, err = cities.Update("b", func(*city) error { t.Error("called without a value"); return nil })
		isDecodeError(t, err, "cities/b")
		_, err = cities.Page(storage.ListOptions{})
		isDecodeError(t, err, "cities/b")

		var names []string
		for it, err := range cities.Iterate(storage.ListOptions{}) {
			if it.Index == "b" {
				isDecodeError(t, err, "cities/b")
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, it.Index+it.Value.Name)
		}
		if want := []string{"aA", "c"}; !slices.Equal(names, want) {
			t.Errorf("the loop went on with %q, want %q", names, want)
		}
	})
}

func TestIterateEndsWithTheStore(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		cities := open[city](t, store, "cities/*")
		store.Close()
		calls := 0
		for it, err := range cities.Iterate(storage.ListOptions{}) {
			if calls++; !errors.Is(err, storage.ErrNotActive) || it != (collection.Item[city]{}) {
				t.Errorf("%+v, %v, want %v", it, err, storage.ErrNotActive)
			}
		}
		if calls != 1 {
			t.Errorf("the loop ran %d times, want once", calls)
		}
	})
}

// TestValuesThatAreNoJSON shows that nothing is written of what cannot be.
func TestValuesThatAreNoJSON(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		channels := open[chan int](t, store, "c/*")
		calls := map[string]error{
			"set":  channels.Set("a", nil),
			"push": func() error { _, err := channels.Push(nil); return err }(),
			"update": func() error {
				_, err := channels.Upsert("a", func(*chan int) error { return nil })
				return err
			}(),
		}
		for op, err := range calls {
			var unsupported *json.UnsupportedTypeError
			if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "chan int cannot be encoded as JSON") || !strings.Contains(err.Error(), op+` "c/`) {
				t.Errorf("%s: %v, want one that names chan int and the place", op, err)
			}
		}
		if n, err := channels.Count(); n != 0 || err != nil {
			t.Errorf("%d objects, %v, want none", n, err)
		}
	})
}

// TestValuesShareNothing shows that to change a value changes no other.
func TestValuesShareNothing(t *testing.T) {
	both(t, func(t *testing.T, store *home) {
		texts := open[json.RawMessage](t, store, "t/*")
		if err := texts.Set("a", json.RawMessage(`"one"`)); err != nil {
			t.Fatal(err)
		}
		it, err := texts.Get("a")
		if err != nil {
			t.Fatal(err)
		}
		copy(it.Value, `"two"`)
		if again, err := texts.Get("a"); err != nil || string(again.Value) != `"one"` {
			t.Errorf("%s, %v, want what was stored", again.Value, err)
		}
	})
}
