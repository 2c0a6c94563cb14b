package storagetest

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// brokenMore is a brokenDatabase whose calls beyond the Database interface can be wrong too. It is
// persistent, on a disk in memory.
type brokenMore struct {
	*brokenDatabase
	starts      int
	commit      func(batch *storage.Batch) ([]meta.Object, error)
	setWith     func(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error)
	delWith     func(path string, opt storage.DelOptions) error
	update      func(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error)
	page        func(pattern string, opt storage.ListOptions) (storage.Page, error)
	iterate     func(pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error]
	count       func(pattern string) (int, error)
	directories func(path string) ([]storage.Directory, error)
	watch       func(callback storage.EventCallback) (stop func())
	touch       func(path string, ttl time.Duration) (meta.Object, error)
	tryAcquire  func(path string, ttl time.Duration) (*storage.Lease, error)
	setContext  func(ctx context.Context, path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error)
}

func (b *brokenMore) Touch(path string, ttl time.Duration) (meta.Object, error) {
	return b.touch(path, ttl)
}
func (b *brokenMore) TryAcquire(path string, ttl time.Duration) (*storage.Lease, error) {
	return b.tryAcquire(path, ttl)
}
func (b *brokenMore) SetContext(ctx context.Context, path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
	return b.setContext(ctx, path, data, opt)
}

func (b *brokenMore) Start(opt storage.Options) error {
	b.starts++
	return b.start(opt)
}
func (b *brokenMore) Commit(batch *storage.Batch) ([]meta.Object, error) { return b.commit(batch) }
func (b *brokenMore) SetWith(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
	return b.setWith(path, data, opt)
}
func (b *brokenMore) DelWith(path string, opt storage.DelOptions) error { return b.delWith(path, opt) }
func (b *brokenMore) Update(path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	return b.update(path, change)
}
func (b *brokenMore) Page(pattern string, opt storage.ListOptions) (storage.Page, error) {
	return b.page(pattern, opt)
}
func (b *brokenMore) Iterate(pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error] {
	return b.iterate(pattern, opt)
}
func (b *brokenMore) Count(pattern string) (int, error) { return b.count(pattern) }
func (b *brokenMore) Directories(path string) ([]storage.Directory, error) {
	return b.directories(path)
}
func (b *brokenMore) Watch(callback storage.EventCallback) (stop func()) { return b.watch(callback) }

// newBrokenMore returns one that is not broken yet.
func newBrokenMore(t T) *brokenMore {
	l := storage.New(storage.LayeredConfig{
		Memory:     storage.NewMemoryLayer(),
		Persistent: NewBatchLayer(&Disk{}, t.TempDir()),
	})
	return &brokenMore{
		brokenDatabase: brokenOver(l), commit: l.Commit, setWith: l.SetWith, delWith: l.DelWith, update: l.Update,
		page: l.Page, iterate: l.Iterate, count: l.Count, directories: l.Directories, watch: l.Watch,
		touch: l.Touch, tryAcquire: l.TryAcquire, setContext: l.SetContext,
	}
}

// onStart changes the options of each start.
func (b *brokenMore) onStart(change func(opt *storage.Options)) {
	b.start = func(opt storage.Options) error {
		opt.Retention = slices.Clone(opt.Retention)
		change(&opt)
		return b.Layered.Start(opt)
	}
}

// hasCount tells whether there is a rule with a count.
func hasCount(opt *storage.Options, count int) bool {
	return slices.ContainsFunc(opt.Retention, func(r storage.Retention) bool { return r.Count == count })
}

var brokenMores = []struct {
	name string
	want []string
	harm func(b *brokenMore)
}{
	{"nothing is wrong", nil, func(*brokenMore) {}},
	{"returns the objects of a batch without their times", []string{"DATABASE-A0"}, func(b *brokenMore) {
		b.commit = func(batch *storage.Batch) ([]meta.Object, error) {
			got, err := b.Layered.Commit(batch)
			for i := range got {
				got[i].Updated = 0
			}
			return got, err
		}
	}},
	{"keeps a part of a batch that fails", []string{"DATABASE-A1"}, func(b *brokenMore) {
		b.commit = func(batch *storage.Batch) ([]meta.Object, error) {
			got, err := b.Layered.Commit(batch)
			if errors.Is(err, storage.ErrConflict) {
				_, e := b.Layered.Set("n/first", dataOf(2))
				err = errors.Join(err, e)
			}
			return got, err
		}
	}},
	{"gives the changes of a batch one revision", []string{"DATABASE-A2"}, func(b *brokenMore) {
		b.commit = func(batch *storage.Batch) ([]meta.Object, error) {
			got, err := b.Layered.Commit(batch)
			for i := range got {
				if strings.HasPrefix(got[0].Path, "r/") {
					got[i].Revision = got[0].Revision
				}
			}
			return got, err
		}
	}},
	{"shows a change of a batch before the others", []string{"DATABASE-A3"}, func(b *brokenMore) {
		b.commit = func(batch *storage.Batch) ([]meta.Object, error) {
			got, err := b.Layered.Commit(batch)
			if err == nil && len(got) > 0 && got[0].Path == "once/0" {
				_, err = b.Layered.Set("once/0", dataOf(numberOf(got[0].Data)+1))
			}
			return got, err
		}
	}},
	{"tells the first change of a batch late", []string{"DATABASE-A4"}, func(b *brokenMore) {
		b.watch = func(callback storage.EventCallback) func() {
			var late []storage.Event
			return b.Layered.Watch(func(e storage.Event) {
				if strings.HasPrefix(e.Key, "e/") && strings.HasSuffix(e.Key, "/0") {
					late = append(late, e)
					return
				}
				callback(e)
				for _, e := range late {
					callback(e)
				}
				late = nil
			})
		}
	}},
	{"forgets a delete of a batch at a restart", []string{"DATABASE-A5"}, func(b *brokenMore) {
		b.start = func(opt storage.Options) error {
			err := b.Layered.Start(opt)
			if _, e := b.Layered.Get("k/0"); err == nil && e == nil {
				_, err = b.Layered.Set("d/0", dataOf(0))
			}
			return err
		}
	}},
	{"runs AfterWrite for some changes of a batch", []string{"DATABASE-A6"}, func(b *brokenMore) {
		b.onStart(func(opt *storage.Options) {
			if hook := opt.AfterWrite; hook != nil {
				opt.AfterWrite = func(path string) {
					if path != "h/a" {
						hook(path)
					}
				}
			}
		})
	}},
	{"deletes whatever revision", []string{"DATABASE-A7"}, func(b *brokenMore) {
		b.delWith = func(path string, opt storage.DelOptions) error {
			if path == "c/a" {
				opt.IfRevision = 0
			}
			return b.Layered.DelWith(path, opt)
		}
	}},
	{"writes over what is there, if absent", []string{"DATABASE-A8"}, func(b *brokenMore) {
		b.setWith = func(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
			opt.IfAbsent = opt.IfAbsent && path != "c/a"
			return b.Layered.SetWith(path, data, opt)
		}
	}},
	{"lets two swap one revision", []string{"DATABASE-A9"}, func(b *brokenMore) {
		b.setWith = func(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
			obj, err := b.Layered.SetWith(path, data, opt)
			if path == "swap/a" && errors.Is(err, storage.ErrConflict) {
				return b.Layered.SetWith(path, data, storage.SetOptions{})
			}
			return obj, err
		}
	}},
	{"returns what it was asked for, and not what it stored", []string{"DATABASE-AA"}, func(b *brokenMore) {
		b.setWith = func(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
			obj, err := b.Layered.SetWith(path, data, opt)
			if path == "w/b" {
				obj.Index = path
			}
			return obj, err
		}
	}},
	{"takes two conditions", []string{"DATABASE-AB"}, func(b *brokenMore) {
		b.setWith = func(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
			opt.IfAbsent = opt.IfAbsent && opt.IfRevision == 0
			return b.Layered.SetWith(path, data, opt)
		}
	}},
	{"updates nothing without a path", []string{"DATABASE-AC"}, func(b *brokenMore) {
		b.update = func(path string, change func(meta.Object) (json.RawMessage, error)) (meta.Object, error) {
			return b.Layered.Update(path, func(old meta.Object) (json.RawMessage, error) {
				if old.Data == nil {
					old = meta.Object{}
				}
				return change(old)
			})
		}
	}},
	{"loses an update now and then", []string{"DATABASE-AD"}, func(b *brokenMore) {
		var calls atomic.Int64
		b.update = func(path string, change func(meta.Object) (json.RawMessage, error)) (meta.Object, error) {
			if strings.HasPrefix(path, "n/") && calls.Add(1)%50 == 0 {
				return b.Layered.Get(path)
			}
			return b.Layered.Update(path, change)
		}
	}},
	{"updates without a look back", []string{"DATABASE-AE"}, func(b *brokenMore) {
		b.update = func(path string, change func(meta.Object) (json.RawMessage, error)) (meta.Object, error) {
			if path != "o/a" {
				return b.Layered.Update(path, change)
			}
			old, err := b.Layered.Get(path)
			if err != nil {
				return old, err
			}
			data, err := change(old)
			if err != nil {
				return old, err
			}
			return b.Layered.SetWith(path, data, storage.SetOptions{})
		}
	}},
	{"stores what an update made before it failed", []string{"DATABASE-AF"}, func(b *brokenMore) {
		b.update = func(path string, change func(meta.Object) (json.RawMessage, error)) (meta.Object, error) {
			obj, err := b.Layered.Update(path, change)
			if errors.Is(err, storage.ErrNoop) {
				_, e := b.Layered.Set(path, dataOf(2))
				err = errors.Join(err, e)
			}
			return obj, err
		}
	}},

	{"lists what is expired", []string{"DATABASE-B0"}, func(b *brokenMore) {
		kept := make(map[string]meta.Object)
		b.setWith = func(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
			obj, err := b.Layered.SetWith(path, data, opt)
			if strings.HasPrefix(path, "x") {
				kept[obj.Path[:strings.IndexByte(path, '/')]+"/*"] = obj
			}
			return obj, err
		}
		b.getList = func(pattern string) ([]meta.Object, error) {
			list, err := b.Layered.GetList(pattern)
			if obj, ok := kept[pattern]; ok && len(list) == 0 {
				list = append(list, obj)
			}
			return list, err
		}
	}},
	{"removes in silence", []string{"DATABASE-B1"}, func(b *brokenMore) {
		b.setWith = func(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
			obj, err := b.Layered.SetWith(path, data, opt)
			if path == "e/x" {
				err = errors.Join(err, b.Layered.DelSilent(path))
			}
			return obj, err
		}
	}},
	{"forgets a time to live at a restart", []string{"DATABASE-B2"}, func(b *brokenMore) {
		b.close = func() {
			if obj, err := b.Layered.Get("r/long"); err == nil {
				_, _ = b.Layered.SetWithMeta(obj.Path, obj.Data, obj.Created, obj.Updated)
			}
			b.Layered.Close()
		}
	}},
	{"keeps a time to live through a write", []string{"DATABASE-B3"}, func(b *brokenMore) {
		b.set = func(path string, data json.RawMessage) (string, error) {
			if old, err := b.Layered.Get(path); err == nil && path == "w/ends" {
				obj, err := b.Layered.SetWith(path, data, storage.SetOptions{Expires: old.Expires})
				return obj.Index, err
			}
			return b.Layered.Set(path, data)
		}
	}},
	{"finds what is expired", []string{"DATABASE-B4"}, func(b *brokenMore) {
		b.setWith = func(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
			if opt.IfAbsent && strings.HasPrefix(path, "a/") {
				return meta.Object{}, &storage.ConflictError{Path: path, Current: 1}
			}
			return b.Layered.SetWith(path, data, opt)
		}
	}},
	{"takes a time to live below zero", []string{"DATABASE-B5"}, func(b *brokenMore) {
		b.setWith = func(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
			opt.TTL = max(opt.TTL, 0)
			return b.Layered.SetWith(path, data, opt)
		}
	}},
	{"keeps one more than the count", []string{"DATABASE-B6"}, func(b *brokenMore) {
		b.onStart(func(opt *storage.Options) {
			if hasCount(opt, 5) {
				opt.Retention[0].Count++
			}
		})
	}},
	{"does not count the age", []string{"DATABASE-B7"}, func(b *brokenMore) {
		b.onStart(func(opt *storage.Options) {
			if len(opt.Retention) > 0 && opt.Retention[0].Age == time.Hour {
				opt.Retention = nil
			}
		})
	}},
	{"cuts nothing when it starts", []string{"DATABASE-B8"}, func(b *brokenMore) {
		b.onStart(func(opt *storage.Options) {
			if hasCount(opt, 4) {
				opt.Retention = nil
			}
		})
	}},
	{"takes any rule", []string{"DATABASE-B9"}, func(b *brokenMore) {
		b.start = func(opt storage.Options) error {
			err := b.Layered.Start(opt)
			if errors.Is(err, storage.ErrInvalidPattern) {
				opt.Retention = nil
				return b.Layered.Start(opt)
			}
			return err
		}
	}},

	{"leaves an object out between pages", []string{"DATABASE-C0"}, func(b *brokenMore) {
		b.page = func(pattern string, opt storage.ListOptions) (storage.Page, error) {
			page, err := b.Layered.Page(pattern, opt)
			if opt.Limit == 12 && page.Next != "" {
				page.Objects = page.Objects[:11]
			}
			return page, err
		}
	}},
	{"shows an object again that was overwritten", []string{"DATABASE-C1"}, func(b *brokenMore) {
		b.page = func(pattern string, opt storage.ListOptions) (storage.Page, error) {
			page, err := b.Layered.Page(pattern, opt)
			if err == nil && pattern == "w/*" && opt.Cursor != "" {
				var first meta.Object
				first, err = b.Layered.Get("w/stays00")
				page.Objects = append(page.Objects, first)
			}
			return page, err
		}
	}},
	{"takes any cursor", []string{"DATABASE-C2"}, func(b *brokenMore) {
		b.page = func(pattern string, opt storage.ListOptions) (storage.Page, error) {
			page, err := b.Layered.Page(pattern, opt)
			if errors.Is(err, storage.ErrInvalidCursor) {
				opt.Cursor = ""
				return b.Layered.Page(pattern, opt)
			}
			return page, err
		}
	}},
	{"has cursors for one run only", []string{"DATABASE-C3"}, func(b *brokenMore) {
		b.page = func(pattern string, opt storage.ListOptions) (storage.Page, error) {
			if b.starts > 1 && opt.Cursor != "" {
				return storage.Page{}, storage.ErrInvalidCursor
			}
			return b.Layered.Page(pattern, opt)
		}
	}},
	{"ends an iteration early", []string{"DATABASE-C4"}, func(b *brokenMore) {
		b.iterate = func(pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error] {
			return func(yield func(meta.Object, error) bool) {
				n := 0
				for obj, err := range b.Layered.Iterate(pattern, opt) {
					if n++; n > 512 || !yield(obj, err) {
						return
					}
				}
			}
		}
	}},
	{"counts wrongly", []string{"DATABASE-C5"}, func(b *brokenMore) {
		b.count = func(pattern string) (int, error) {
			n, err := b.Layered.Count(pattern)
			if pattern == "users/*" && err == nil {
				n++
			}
			return n, err
		}
	}},
	{"does not see what is far below", []string{"DATABASE-C6"}, func(b *brokenMore) {
		b.directories = func(path string) ([]storage.Directory, error) {
			found, err := b.Layered.Directories(path)
			return slices.DeleteFunc(found, func(d storage.Directory) bool { return d.Objects == 0 }), err
		}
	}},
	{"has pages without an end", []string{"DATABASE-C7"}, func(b *brokenMore) {
		b.page = func(pattern string, opt storage.ListOptions) (storage.Page, error) {
			if opt.Limit == 0 {
				opt.Limit = 1 << 30
			}
			return b.Layered.Page(pattern, opt)
		}
	}},
	{"sets what it touches", []string{"DATABASE-D0"}, func(b *brokenMore) {
		b.touch = func(path string, ttl time.Duration) (meta.Object, error) {
			obj, err := b.Layered.Touch(path, ttl)
			if err != nil {
				return obj, err
			}
			return b.Layered.SetWith(path, obj.Data, storage.SetOptions{TTL: ttl})
		}
	}},
	{"makes what it is to touch", []string{"DATABASE-D0"}, func(b *brokenMore) {
		b.touch = func(path string, ttl time.Duration) (meta.Object, error) {
			obj, err := b.Layered.Touch(path, ttl)
			if errors.Is(err, storage.ErrNotFound) {
				return b.Layered.SetWith(path, dataOf(1), storage.SetOptions{TTL: ttl})
			}
			return obj, err
		}
	}},
	{"waits in TryAcquire, and gives up", []string{"DATABASE-D1"}, func(b *brokenMore) {
		b.tryAcquire = func(path string, ttl time.Duration) (*storage.Lease, error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			return b.Layered.Acquire(ctx, path, ttl)
		}
	}},
	{"writes whatever became of the lease", []string{"DATABASE-D2"}, func(b *brokenMore) {
		b.setWith = func(path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
			opt.Lease = nil
			return b.Layered.SetWith(path, data, opt)
		}
	}},
	{"writes whatever became of the context", []string{"DATABASE-D3"}, func(b *brokenMore) {
		b.setContext = func(_ context.Context, path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
			return b.Layered.SetWith(path, data, opt)
		}
	}},
	{"forgets the record of a request", []string{"DATABASE-D4"}, func(b *brokenMore) {
		b.commit = func(batch *storage.Batch) ([]meta.Object, error) {
			got, err := b.Layered.Commit(batch)
			if len(got) == 2 && got[1].Path == "d4/requests/1" {
				return got, errors.Join(err, b.Layered.Del(got[1].Path))
			}
			return got, err
		}
	}},
	{"counts twice", []string{"DATABASE-C8"}, func(b *brokenMore) {
		b.count = func(pattern string) (int, error) {
			if _, err := b.Layered.Count(pattern); err != nil {
				return 0, err
			}
			return b.Layered.Count(pattern)
		}
	}},
}

// moreClauses are those on the calls that a brokenMore can have wrong: no other clause makes them, but to
// see that they are refused.
var moreClauses = slices.Concat(batchClauses, expiryClauses, pageClauses, boundClauses)

// TestBrokenMore is TestBrokenDatabases for batches, expiry and pages.
func TestBrokenMore(t *testing.T) {
	for _, broken := range brokenMores {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			opts := Options{Persistent: true}
			s := &subject{Options: opts, openDatabase: func(t T) storage.Database {
				b := newBrokenMore(t)
				broken.harm(b)
				return b
			}}
			wantFailures(t, moreClauses, s, broken.want...)
		})
	}
}

// TestEachMoreClauseHasAFault checks that a store is broken in each of the clauses, and in it alone.
func TestEachMoreClauseHasAFault(t *testing.T) {
	for _, c := range moreClauses {
		found := false
		for _, broken := range brokenMores {
			found = found || slices.Equal(broken.want, []string{c.ID})
		}
		if !found {
			t.Errorf("no store is broken in %s", c)
		}
	}
}
