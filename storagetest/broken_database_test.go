package storagetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// brokenDatabase is a store in memory of which some methods are replaced by wrong ones.
type brokenDatabase struct {
	*storage.Layered
	start             func(storage.Options) error
	close             func()
	keys              func() ([]string, error)
	keysRange         func(path string, from, to int64) ([]string, error)
	get               func(path string) (meta.Object, error)
	getAndLock        func(path string) (meta.Object, error)
	getList           func(path string) ([]meta.Object, error)
	getListDescending func(path string) ([]meta.Object, error)
	getN              func(path string, limit int) ([]meta.Object, error)
	getNAscending     func(path string, limit int) ([]meta.Object, error)
	getNRange         func(path string, limit int, from, to int64) ([]meta.Object, error)
	set               func(path string, data json.RawMessage) (string, error)
	setAndUnlock      func(path string, data json.RawMessage) (string, error)
	unlock            func(path string) error
	push              func(path string, data json.RawMessage) (string, error)
	del               func(path string) error
	delSilent         func(path string) error
}

func (b *brokenDatabase) Start(opt storage.Options) error { return b.start(opt) }
func (b *brokenDatabase) Close()                          { b.close() }
func (b *brokenDatabase) Keys() ([]string, error)         { return b.keys() }
func (b *brokenDatabase) KeysRange(path string, from, to int64) ([]string, error) {
	return b.keysRange(path, from, to)
}
func (b *brokenDatabase) Get(path string) (meta.Object, error)        { return b.get(path) }
func (b *brokenDatabase) GetAndLock(path string) (meta.Object, error) { return b.getAndLock(path) }
func (b *brokenDatabase) GetList(path string) ([]meta.Object, error)  { return b.getList(path) }
func (b *brokenDatabase) GetListDescending(path string) ([]meta.Object, error) {
	return b.getListDescending(path)
}
func (b *brokenDatabase) GetN(path string, limit int) ([]meta.Object, error) {
	return b.getN(path, limit)
}
func (b *brokenDatabase) GetNAscending(path string, limit int) ([]meta.Object, error) {
	return b.getNAscending(path, limit)
}
func (b *brokenDatabase) GetNRange(path string, limit int, from, to int64) ([]meta.Object, error) {
	return b.getNRange(path, limit, from, to)
}
func (b *brokenDatabase) Set(path string, data json.RawMessage) (string, error) {
	return b.set(path, data)
}
func (b *brokenDatabase) SetAndUnlock(path string, data json.RawMessage) (string, error) {
	return b.setAndUnlock(path, data)
}
func (b *brokenDatabase) Unlock(path string) error { return b.unlock(path) }
func (b *brokenDatabase) Push(path string, data json.RawMessage) (string, error) {
	return b.push(path, data)
}
func (b *brokenDatabase) Del(path string) error       { return b.del(path) }
func (b *brokenDatabase) DelSilent(path string) error { return b.delSilent(path) }

// newBrokenDatabase returns one that is not broken yet.
func newBrokenDatabase() *brokenDatabase {
	return brokenOver(storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()}))
}

// brokenOver is newBrokenDatabase over a store.
func brokenOver(l *storage.Layered) *brokenDatabase {
	return &brokenDatabase{
		Layered: l, start: l.Start, close: l.Close, keys: l.Keys, keysRange: l.KeysRange, get: l.Get,
		getAndLock: l.GetAndLock, getList: l.GetList, getListDescending: l.GetListDescending, getN: l.GetN,
		getNAscending: l.GetNAscending, getNRange: l.GetNRange, set: l.Set, setAndUnlock: l.SetAndUnlock,
		unlock: l.Unlock, push: l.Push, del: l.Del, delSilent: l.DelSilent,
	}
}

// forgiven turns one error into none.
func forgiven(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// untilWritten waits until the path of an object is written anew, as far as anyone writes.
func untilWritten(b *brokenDatabase, obj meta.Object) {
	for range 1000 {
		if newer, err := b.Layered.Get(obj.Path); err != nil || newer.Revision > obj.Revision {
			return
		}
		time.Sleep(20 * time.Microsecond)
	}
}

var brokenDatabases = []struct {
	name string
	want []string
	harm func(b *brokenDatabase)
}{
	{"nothing is wrong", nil, func(*brokenDatabase) {}},
	{"can be started twice", []string{"DATABASE-02"}, func(b *brokenDatabase) {
		b.start = func(opt storage.Options) error { return forgiven(b.Layered.Start(opt), storage.ErrActive) }
	}},
	{"panics when it is closed twice", []string{"DATABASE-04"}, func(b *brokenDatabase) {
		b.close = func() {
			if !b.Active() {
				panic("close of a closed store, on purpose")
			}
			b.Layered.Close()
		}
	}},
	{"pushes to a path without a star", []string{"DATABASE-12"}, func(b *brokenDatabase) {
		b.push = func(path string, data json.RawMessage) (string, error) {
			index, err := b.Layered.Push(path, data)
			if strings.HasPrefix(path, "*/") {
				err = forgiven(err, storage.ErrInvalidPath)
			}
			return index, err
		}
	}},
	{"takes invalid JSON", []string{"DATABASE-13"}, func(b *brokenDatabase) {
		b.set = func(path string, data json.RawMessage) (string, error) {
			if string(data) == "hello" {
				return "b", nil
			}
			return b.Layered.Set(path, data)
		}
	}},
	{"lists a path without a glob", []string{"DATABASE-15"}, func(b *brokenDatabase) {
		b.getN = func(path string, limit int) ([]meta.Object, error) {
			list, err := b.Layered.GetN(path, limit)
			return list, forgiven(err, storage.ErrInvalidPattern)
		}
	}},
	{"takes a negative limit", []string{"DATABASE-16"}, func(b *brokenDatabase) {
		b.getN = func(path string, limit int) ([]meta.Object, error) { return b.Layered.GetN(path, max(limit, 0)) }
	}},
	{"takes a range that ends before it begins", []string{"DATABASE-17"}, func(b *brokenDatabase) {
		b.keysRange = func(path string, from, to int64) ([]string, error) {
			return b.Layered.KeysRange(path, min(from, to), max(from, to))
		}
	}},
	{"deletes an absent path without an error", []string{"DATABASE-18"}, func(b *brokenDatabase) {
		b.delSilent = func(path string) error { return forgiven(b.Layered.DelSilent(path), storage.ErrNotFound) }
	}},
	{"returns the path for the index", []string{"DATABASE-20"}, func(b *brokenDatabase) {
		b.set = func(path string, data json.RawMessage) (string, error) {
			_, err := b.Layered.Set(path, data)
			return path, err
		}
	}},
	{"gives out data with room behind it", []string{"DATABASE-28"}, func(b *brokenDatabase) {
		b.getAndLock = func(path string) (meta.Object, error) {
			obj, err := b.Layered.GetAndLock(path)
			obj.Data = slices.Grow(slices.Clip(slices.Clone(obj.Data)), 64)
			return obj, err
		}
	}},
	{"deletes the matches of a glob one by one", []string{"DATABASE-34"}, func(b *brokenDatabase) {
		b.del = func(path string) error {
			if !strings.HasPrefix(path, "g/") {
				return b.Layered.Del(path)
			}
			if list, err := b.Layered.GetList(path); err == nil {
				for _, obj := range list {
					time.Sleep(20 * time.Microsecond)
					err = errors.Join(err, b.Layered.DelSilent(obj.Path))
				}
				return err
			}
			return b.Layered.Del(path)
		}
	}},
	{"lists the newest first", []string{"DATABASE-40"}, func(b *brokenDatabase) {
		b.getList = b.Layered.GetListDescending
	}},
	{"lists the oldest first", []string{"DATABASE-41"}, func(b *brokenDatabase) {
		b.getListDescending = b.Layered.GetList
	}},
	{"ignores a limit", []string{"DATABASE-42"}, func(b *brokenDatabase) {
		b.getNAscending = func(path string, limit int) ([]meta.Object, error) {
			return b.Layered.GetNAscending(path, min(limit, 0))
		}
	}},
	{"is off by one at the end of a range", []string{"DATABASE-43"}, func(b *brokenDatabase) {
		b.keysRange = func(path string, from, to int64) ([]string, error) {
			if from < to && to < 1<<60 {
				to--
			}
			return b.Layered.KeysRange(path, from, to)
		}
	}},
	{"ignores the limit of a range", []string{"DATABASE-44"}, func(b *brokenDatabase) {
		b.getNRange = func(path string, limit int, from, to int64) ([]meta.Object, error) {
			if limit > 0 {
				limit = 1 << 30
			}
			return b.Layered.GetNRange(path, limit, from, to)
		}
	}},
	{"returns keys in no order", []string{"DATABASE-46"}, func(b *brokenDatabase) {
		b.keys = func() ([]string, error) {
			keys, err := b.Layered.Keys()
			slices.Reverse(keys)
			return keys, err
		}
	}},
	{"returns nil for an empty list", []string{"DATABASE-47"}, func(b *brokenDatabase) {
		b.getList = func(path string) ([]meta.Object, error) {
			list, err := b.Layered.GetList(path)
			if len(list) == 0 {
				list = nil
			}
			return list, err
		}
	}},
	{"lists paths and then reads them one by one", []string{"DATABASE-48"}, func(b *brokenDatabase) {
		b.getList = func(path string) ([]meta.Object, error) {
			list, err := b.Layered.GetList(path)
			if path == "s/*" {
				for i := range list {
					if again, err := b.Layered.Get(list[i].Path); err == nil {
						list[i] = again
					}
					if i == 0 {
						untilWritten(b, list[0])
					}
				}
			}
			return list, err
		}
	}},
	{"runs AfterWrite twice", []string{"DATABASE-60"}, func(b *brokenDatabase) {
		b.start = func(opt storage.Options) error {
			if hook := opt.AfterWrite; hook != nil {
				opt.AfterWrite = func(path string) { hook(path); hook(path) }
			}
			return b.Layered.Start(opt)
		}
	}},
	{"runs BeforeRead twice", []string{"DATABASE-64"}, func(b *brokenDatabase) {
		b.start = func(opt storage.Options) error {
			if hook := opt.BeforeRead; hook != nil {
				opt.BeforeRead = func(path string) { hook(path); hook(path) }
			}
			return b.Layered.Start(opt)
		}
	}},
	{"mends what is no UTF-8", []string{"DATABASE-19"}, func(b *brokenDatabase) {
		b.set = func(path string, data json.RawMessage) (string, error) {
			return b.Layered.Set(path, bytes.ToValidUTF8(data, []byte("?")))
		}
	}},
	{"unlocks what is not locked", []string{"DATABASE-72"}, func(b *brokenDatabase) {
		b.setAndUnlock = func(path string, data json.RawMessage) (string, error) {
			index, err := b.Layered.SetAndUnlock(path, data)
			if err != nil && path == "a/c" {
				return index, forgiven(err, storage.ErrLockNotFound)
			}
			return index, err
		}
	}},
	{"keeps the lock when a write fails", []string{"DATABASE-75"}, func(b *brokenDatabase) {
		b.setAndUnlock = func(path string, data json.RawMessage) (string, error) {
			index, err := b.Layered.SetAndUnlock(path, data)
			if errors.Is(err, storage.ErrInvalidStorageData) {
				err = errors.Join(err, b.Lock(path))
			}
			return index, err
		}
	}},
	{"locks a glob", []string{"DATABASE-76"}, func(b *brokenDatabase) {
		b.unlock = func(path string) error {
			if key.IsValid(path) && key.HasGlob(path) {
				return storage.ErrLockNotFound
			}
			return b.Layered.Unlock(path)
		}
	}},
}

// TestBrokenDatabases runs the suite on stores with one fault each: its clause must fail,
// and no other.
func TestBrokenDatabases(t *testing.T) {
	for _, broken := range brokenDatabases {
		t.Run(broken.name, func(t *testing.T) {
			s := &subject{openDatabase: func(T) storage.Database {
				b := newBrokenDatabase()
				broken.harm(b)
				return b
			}}
			// The clauses of batches, expiry and pages look at the same reads and hooks: they have broken
			// stores of their own.
			wantFailures(t, coreClauses, s, broken.want...)
		})
	}
}

// brokenEvents passes the events of a store on to channels of its own, wrongly.
type brokenEvents struct {
	storage.Database
	out atomic.Pointer[storage.ShardedChan]
	// pass sends what has to become of an event.
	pass func(e storage.Event, out *storage.ShardedChan)
}

func (b *brokenEvents) Close() {
	b.Database.Close()
	b.out.Store(nil)
}

func (b *brokenEvents) WatchSharded() *storage.ShardedChan {
	if out := b.out.Load(); out != nil && b.Active() {
		return out
	}
	in := b.Database.WatchSharded()
	out := storage.NewShardedChan(in.Count())
	if b.Active() {
		b.out.Store(out)
	}
	go func() {
		defer out.Close()
		done := make(chan struct{})
		for i := range in.Count() {
			go func() {
				for e := range in.Shard(i) {
					b.pass(e, out)
				}
				done <- struct{}{}
			}()
		}
		for range in.Count() {
			<-done
		}
	}()
	return out
}

// TestBrokenEvents runs the suite on stores whose events are wrong in one way each.
func TestBrokenEvents(t *testing.T) {
	for _, broken := range []struct {
		name string
		want []string
		pass func() func(e storage.Event, out *storage.ShardedChan)
	}{
		{"nothing is wrong", nil, func() func(storage.Event, *storage.ShardedChan) {
			return func(e storage.Event, out *storage.ShardedChan) { out.Send(e) }
		}},
		{"sends deletes without their object", []string{"EVENTS-02"}, func() func(storage.Event, *storage.ShardedChan) {
			return func(e storage.Event, out *storage.ShardedChan) {
				if e.Operation == storage.OperationDel {
					e.Object = nil
				}
				out.Send(e)
			}
		}},
		{"sends a delete of a subtree as one of its first level", []string{"EVENTS-26"}, func() func(storage.Event, *storage.ShardedChan) {
			return func(e storage.Event, out *storage.ShardedChan) {
				if root, subtree := key.Root(e.Key); subtree {
					e.Key = root + "/*"
				}
				out.Send(e)
			}
		}},
		{"sends a clear as a delete", []string{"EVENTS-04"}, func() func(storage.Event, *storage.ShardedChan) {
			return func(e storage.Event, out *storage.ShardedChan) {
				if e.Operation == storage.OperationClear {
					e.Operation = storage.OperationDel
				}
				out.Send(e)
			}
		}},
		{"sends some events twice", []string{"EVENTS-07"}, func() func(storage.Event, *storage.ShardedChan) {
			return func(e storage.Event, out *storage.ShardedChan) {
				if strings.HasPrefix(e.Key, "c/") {
					out.Send(e)
				}
				out.Send(e)
			}
		}},
		{"loses events beyond a hundred", []string{"EVENTS-08"}, func() func(storage.Event, *storage.ShardedChan) {
			var n atomic.Int64
			return func(e storage.Event, out *storage.ShardedChan) {
				if strings.HasPrefix(e.Key, "r/") && n.Add(1) > 100 {
					return
				}
				out.Send(e)
			}
		}},
		{"sends an event before its change", []string{"EVENTS-09"}, func() func(storage.Event, *storage.ShardedChan) {
			return func(e storage.Event, out *storage.ShardedChan) {
				if strings.HasPrefix(e.Key, "v/") {
					obj := *e.Object
					obj.Revision += 1000
					e.Object = &obj
				}
				out.Send(e)
			}
		}},
	} {
		t.Run(broken.name, func(t *testing.T) {
			s := &subject{openDatabase: func(T) storage.Database {
				return &brokenEvents{
					Database: storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()}),
					pass:     broken.pass(),
				}
			}}
			// Channels beside those of the store cannot know what came and went (TestBrokenLaggards).
			clauses := slices.DeleteFunc(slices.Clone(eventClauses), func(c Clause) bool { return c.ID == "EVENTS-24" })
			wantFailures(t, clauses, s, broken.want...)
		})
	}
}
