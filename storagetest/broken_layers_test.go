package storagetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

var brokenLayers = []struct {
	name string
	want []string
	harm func(l *brokenLayer)
}{
	{"nothing is wrong", nil, func(*brokenLayer) {}},
	{"cuts revisions to 63 bits", []string{"LAYER-01"}, func(l *brokenLayer) {
		l.get = func(path string) (meta.Object, error) {
			obj, err := l.BatchLayer.Get(path)
			obj.Revision &= 1<<63 - 1
			return obj, err
		}
	}},
	{"stores at the object's own path", []string{"LAYER-02"}, func(l *brokenLayer) {
		l.set = func(path string, obj *meta.Object) error {
			if key.IsValid(path) && !key.HasGlob(path) && obj != nil && obj.Path != "" {
				path = obj.Path
			}
			return l.BatchLayer.Set(path, obj)
		}
	}},
	{"merges an overwrite with what was there", []string{"LAYER-03"}, func(l *brokenLayer) {
		l.set = func(path string, obj *meta.Object) error {
			if old, err := l.BatchLayer.Get(path); err == nil && obj != nil && obj.Updated == 0 {
				merged := *obj
				merged.Updated = old.Updated
				obj = &merged
			}
			return l.BatchLayer.Set(path, obj)
		}
	}},
	{"answers for what lies below an object", []string{"LAYER-04"}, func(l *brokenLayer) {
		l.get = func(path string) (meta.Object, error) {
			obj, err := l.BatchLayer.Get(path)
			if errors.Is(err, storage.ErrNotFound) && key.Parent(key.Parent(path)) != "" {
				if parent, found := l.BatchLayer.Get(key.Parent(path)); found == nil {
					return parent, nil
				}
			}
			return obj, err
		}
	}},
	{"gets the first match of a glob", []string{"LAYER-05"}, func(l *brokenLayer) {
		l.get = func(path string) (meta.Object, error) {
			if list, err := l.BatchLayer.GetList(path); err == nil && len(list) > 0 {
				return list[0], nil
			}
			return l.BatchLayer.Get(path)
		}
	}},
	{"drops a write to an invalid path in silence", []string{"LAYER-06"}, func(l *brokenLayer) {
		l.set = func(path string, obj *meta.Object) error {
			if err := l.BatchLayer.Set(path, obj); !errors.Is(err, storage.ErrInvalidPath) {
				return err
			}
			return nil
		}
	}},
	{"drops empty data in silence", []string{"LAYER-07"}, func(l *brokenLayer) {
		l.set = func(path string, obj *meta.Object) error {
			if err := l.BatchLayer.Set(path, obj); !errors.Is(err, storage.ErrInvalidStorageData) {
				return err
			}
			return nil
		}
	}},
	{"forgets to copy the data", []string{"LAYER-08"}, func(l *brokenLayer) {
		hold := l.holding()
		l.set = func(path string, obj *meta.Object) error {
			err := l.BatchLayer.Set(path, obj)
			if err == nil {
				hold(path, obj.Data)
			}
			return err
		}
	}},
	{"leaves room behind returned data", []string{"LAYER-09"}, func(l *brokenLayer) {
		l.get = func(path string) (meta.Object, error) {
			obj, err := l.BatchLayer.Get(path)
			obj.Data = slices.Grow(obj.Data, 100)
			return obj, err
		}
	}},
	{"deletes what lies below an object", []string{"LAYER-10"}, func(l *brokenLayer) {
		l.del = func(path string) error {
			err := l.BatchLayer.Del(path)
			if err == nil {
				l.records(func(dir *directory) {
					maps.DeleteFunc(dir.records, func(p string, _ []byte) bool { return strings.HasPrefix(p, path+"/") })
				})
			}
			return err
		}
	}},
	{"deletes an absent path without an error", []string{"LAYER-11"}, func(l *brokenLayer) {
		l.del = func(path string) error {
			if err := l.BatchLayer.Del(path); !errors.Is(err, storage.ErrNotFound) {
				return err
			}
			return nil
		}
	}},
	{"deletes what a glob matches", []string{"LAYER-12"}, func(l *brokenLayer) {
		l.del = func(path string) error {
			if list, err := l.BatchLayer.GetList(path); err == nil {
				for _, obj := range list {
					err = errors.Join(err, l.BatchLayer.Del(obj.Path))
				}
				return err
			}
			return l.BatchLayer.Del(path)
		}
	}},
	{"lets a star match across segments", []string{"LAYER-13"}, func(l *brokenLayer) {
		l.getList = func(pattern string) ([]meta.Object, error) {
			list, err := l.BatchLayer.GetList(pattern)
			if before, after, ok := strings.Cut(pattern, "/*/"); err == nil && ok {
				list = slices.DeleteFunc(l.everything(), func(obj meta.Object) bool {
					return !match(pattern, obj.Path) &&
						!(strings.HasPrefix(obj.Path, before+"/") && strings.HasSuffix(obj.Path, "/"+after))
				})
			}
			return list, err
		}
	}},
	{"lists one level of a subtree", []string{"LAYER-29"}, func(l *brokenLayer) {
		l.getList = func(pattern string) ([]meta.Object, error) {
			list, err := l.BatchLayer.GetList(pattern)
			return shallow(pattern, list), err
		}
	}},
	{"lists the newest first", []string{"LAYER-14"}, func(l *brokenLayer) {
		l.getList = func(pattern string) ([]meta.Object, error) {
			list, err := l.BatchLayer.GetList(pattern)
			slices.Reverse(list)
			return list, err
		}
	}},
	{"breaks ties of time in no order", []string{"LAYER-14"}, func(l *brokenLayer) {
		l.getList = func(pattern string) ([]meta.Object, error) {
			list, err := l.BatchLayer.GetList(pattern)
			slices.SortFunc(list, func(a, b meta.Object) int {
				return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(b.Path, a.Path))
			})
			return list, err
		}
	}},
	{"lists a path without a glob", []string{"LAYER-15"}, func(l *brokenLayer) {
		l.getList = func(pattern string) ([]meta.Object, error) {
			list, err := l.BatchLayer.GetList(pattern)
			if errors.Is(err, storage.ErrInvalidPattern) {
				return []meta.Object{}, nil
			}
			return list, err
		}
	}},
	{"returns nil for an empty list", []string{"LAYER-16"}, func(l *brokenLayer) {
		l.getList = func(pattern string) ([]meta.Object, error) {
			list, err := l.BatchLayer.GetList(pattern)
			if len(list) == 0 {
				list = nil
			}
			return list, err
		}
	}},
	{"lists objects without their update time", []string{"LAYER-17"}, func(l *brokenLayer) {
		l.getList = func(pattern string) ([]meta.Object, error) {
			list, err := l.BatchLayer.GetList(pattern)
			for i := range list {
				list[i].Updated = 0
			}
			return list, err
		}
	}},
	{"returns keys in the order of their directories", []string{"LAYER-18"}, func(l *brokenLayer) {
		l.keys = func() ([]string, error) {
			keys, err := l.BatchLayer.Keys()
			slices.SortFunc(keys, func(a, b string) int {
				return cmp.Or(cmp.Compare(key.Parent(a), key.Parent(b)), cmp.Compare(a, b))
			})
			return keys, err
		}
	}},
	{"lists what was cleared", []string{"LAYER-19"}, func(l *brokenLayer) {
		var stale []meta.Object
		l.clear = func() {
			stale = l.everything()
			l.BatchLayer.Clear()
		}
		l.getList = func(pattern string) ([]meta.Object, error) {
			if stale != nil {
				return stale, nil
			}
			return l.BatchLayer.GetList(pattern)
		}
	}},
	{"finds nothing before Start", []string{"LAYER-20"}, func(l *brokenLayer) {
		started := false
		l.start = func(opt storage.LayerOptions) error {
			started = true
			return l.BatchLayer.Start(opt)
		}
		l.get = func(path string) (meta.Object, error) {
			if !started {
				return meta.Object{}, storage.ErrNotFound
			}
			return l.BatchLayer.Get(path)
		}
	}},
	{"can be started twice", []string{"LAYER-21"}, func(l *brokenLayer) {
		l.start = func(opt storage.LayerOptions) error {
			if err := l.BatchLayer.Start(opt); !errors.Is(err, storage.ErrActive) {
				return err
			}
			return nil
		}
	}},
	{"deletes after Close without an error", []string{"LAYER-22"}, func(l *brokenLayer) {
		var closed atomic.Bool // a clause closes from several goroutines
		l.close = func() { closed.Store(true); l.BatchLayer.Close() }
		l.del = func(path string) error {
			if closed.Load() && !l.Active() {
				return nil
			}
			return l.BatchLayer.Del(path)
		}
	}},
	{"panics when it is closed twice", []string{"LAYER-23"}, func(l *brokenLayer) {
		l.close = func() {
			if !l.Active() {
				panic("close of a closed file, on purpose")
			}
			l.BatchLayer.Close()
		}
	}},
	{"drops writes after a restart", []string{"LAYER-24"}, func(l *brokenLayer) {
		starts := 0
		l.start = func(opt storage.LayerOptions) error {
			err := l.BatchLayer.Start(opt)
			if err == nil {
				starts++
			}
			return err
		}
		l.set = func(path string, obj *meta.Object) error {
			if starts > 1 {
				return nil
			}
			return l.BatchLayer.Set(path, obj)
		}
	}},
	{"reads times and data one after the other", []string{"LAYER-25"}, func(l *brokenLayer) {
		l.getList = func(pattern string) ([]meta.Object, error) {
			list, err := l.BatchLayer.GetList(pattern)
			runtime.Gosched()
			for i := range list {
				if again, err := l.BatchLayer.Get(list[i].Path); err == nil {
					list[i].Data = again.Data
				}
			}
			return list, err
		}
	}},
	{"fails calls that Close meets", []string{"LAYER-26"}, func(l *brokenLayer) {
		// A writer at work is known by its many calls: the next one after Close is what
		// Close met.
		var sets atomic.Int64
		l.set = func(path string, obj *meta.Object) error {
			err := l.BatchLayer.Set(path, obj)
			if errors.Is(err, storage.ErrNotActive) && sets.Load() > 10 {
				return errors.New("file already closed, on purpose")
			}
			sets.Add(1)
			return err
		}
	}},
	{"takes paths of 255 bytes at most", []string{"LAYER-27"}, func(l *brokenLayer) {
		l.set = func(path string, obj *meta.Object) error {
			if len(path) > 255 && key.IsValid(path) {
				return errors.New("file name too long, on purpose")
			}
			return l.BatchLayer.Set(path, obj)
		}
	}},
	{"takes data of 64 KiB at most", []string{"LAYER-28"}, func(l *brokenLayer) {
		l.set = func(path string, obj *meta.Object) error {
			if obj != nil && len(obj.Data) > 1<<16 {
				return errors.New("value too large, on purpose")
			}
			return l.BatchLayer.Set(path, obj)
		}
	}},

	{"compacts data on the disk", []string{"EMBEDDED-01"}, func(l *brokenLayer) {
		l.start = func(opt storage.LayerOptions) error {
			l.records(func(dir *directory) {
				for path, record := range dir.records {
					obj, err := decode(path, record)
					var small bytes.Buffer
					if err == nil && json.Compact(&small, obj.Data) == nil {
						obj.Data = small.Bytes()
						dir.records[path] = encode(&obj)
					}
				}
			})
			return l.BatchLayer.Start(opt)
		}
	}},
	{"brings deletes back after a restart", []string{"EMBEDDED-02"}, func(l *brokenLayer) {
		remember := l.undoneAtClose()
		l.del = func(path string) error {
			remember(path)
			return l.BatchLayer.Del(path)
		}
	}},
	{"loses overwrites at a restart", []string{"EMBEDDED-03"}, func(l *brokenLayer) {
		remember := l.undoneAtClose()
		l.set = func(path string, obj *meta.Object) error {
			remember(path)
			return l.BatchLayer.Set(path, obj)
		}
	}},
	{"brings back after a restart what was cleared", []string{"EMBEDDED-04"}, func(l *brokenLayer) {
		remember := l.undoneAtClose()
		l.clear = func() {
			for _, obj := range l.everything() {
				remember(obj.Path)
			}
			l.BatchLayer.Clear()
		}
	}},
	{"loads no object at the root", []string{"EMBEDDED-05"}, func(l *brokenLayer) {
		l.load = func() (map[string]*meta.Object, error) {
			all, err := l.BatchLayer.Load()
			maps.DeleteFunc(all, func(path string, _ *meta.Object) bool { return !strings.Contains(path, "/") })
			return all, err
		}
	}},
	{"loads nothing when it is closed", []string{"EMBEDDED-06"}, func(l *brokenLayer) {
		l.load = func() (map[string]*meta.Object, error) {
			if !l.Active() {
				return map[string]*meta.Object{}, nil
			}
			return l.BatchLayer.Load()
		}
	}},
	{"skips a corrupt value in Load", []string{"EMBEDDED-07"}, func(l *brokenLayer) {
		l.load = func() (map[string]*meta.Object, error) {
			if all, err := l.BatchLayer.Load(); err == nil || !l.Active() {
				return all, err
			}
			all := map[string]*meta.Object{}
			for _, obj := range l.everything() {
				all[obj.Path] = &obj
			}
			return all, nil
		}
	}},
	{"finds nothing where a value is corrupt", []string{"EMBEDDED-08", "EMBEDDED-14"}, func(l *brokenLayer) {
		l.get = func(path string) (meta.Object, error) {
			obj, err := l.BatchLayer.Get(path)
			if err != nil && strings.Contains(err.Error(), "corrupt") {
				return obj, fmt.Errorf("key %q: %w", path, storage.ErrNotFound)
			}
			return obj, err
		}
	}},
	{"does not tell a corrupt value from a disk that cannot be read", []string{"EMBEDDED-14"}, func(l *brokenLayer) {
		l.get = func(path string) (meta.Object, error) {
			obj, err := l.BatchLayer.Get(path)
			if errors.Is(err, storage.ErrUndecodable) {
				err = errors.New(err.Error())
			}
			return obj, err
		}
	}},
	{"skips a corrupt value in Scan", []string{"EMBEDDED-09", "EMBEDDED-10"}, func(l *brokenLayer) {
		l.scan = func(pattern string) iter.Seq2[meta.Object, error] {
			return func(yield func(meta.Object, error) bool) {
				if _, err := l.Load(); err != nil && l.Active() {
					for _, obj := range l.everything() {
						if !yield(obj, nil) {
							return
						}
					}
					return
				}
				l.BatchLayer.Scan(pattern)(yield)
			}
		}
	}},
	{"opens a directory in use", []string{"EMBEDDED-11"}, func(l *brokenLayer) {
		l.start = func(opt storage.LayerOptions) error {
			l.records(func(dir *directory) { dir.inUse = false })
			return l.BatchLayer.Start(opt)
		}
	}},
	{"writes into objects that it loaded", []string{"EMBEDDED-12"}, func(l *brokenLayer) {
		var loaded map[string]*meta.Object
		l.load = func() (all map[string]*meta.Object, err error) {
			all, err = l.BatchLayer.Load()
			loaded = all
			return all, err
		}
		l.set = func(path string, obj *meta.Object) error {
			if old := loaded[path]; old != nil {
				*old = *obj
			}
			return l.BatchLayer.Set(path, obj)
		}
	}},
	{"hides what has expired", []string{"EMBEDDED-13"}, func(l *brokenLayer) {
		l.get = func(path string) (meta.Object, error) {
			obj, err := l.BatchLayer.Get(path)
			if err == nil && obj.Expired(time.Now().UnixNano()) {
				return meta.Object{}, storage.ErrNotFound
			}
			return obj, err
		}
	}},
	{"removes what has expired when it starts", []string{"EMBEDDED-13"}, func(l *brokenLayer) {
		l.start = func(opt storage.LayerOptions) error {
			l.records(func(dir *directory) {
				maps.DeleteFunc(dir.records, func(path string, record []byte) bool {
					obj, err := decode(path, record)
					return err == nil && obj.Expired(time.Now().UnixNano())
				})
			})
			return l.BatchLayer.Start(opt)
		}
	}},

	{"applies a batch from its end", []string{"EMBEDDED-20"}, func(l *brokenLayer) {
		l.commit = func(changes []storage.Change) error {
			changes = slices.Clone(changes)
			slices.Reverse(changes)
			err := l.BatchLayer.Commit(changes)
			var refused *storage.EntryError
			if errors.As(err, &refused) {
				return &storage.EntryError{Index: len(changes) - 1 - refused.Index, Err: refused.Err}
			}
			return err
		}
	}},
	{"applies half of a batch", []string{"EMBEDDED-21"}, func(l *brokenLayer) {
		l.commit = func(changes []storage.Change) error {
			err := l.BatchLayer.Commit(changes)
			var refused *storage.EntryError
			if errors.As(err, &refused) {
				return errors.Join(l.BatchLayer.Commit(changes[:refused.Index]), err)
			}
			return err
		}
	}},
	{"applies a batch bit by bit", []string{"EMBEDDED-22"}, func(l *brokenLayer) {
		l.commit = func(changes []storage.Change) error {
			for i, c := range changes {
				if !c.IsClear() && !key.IsValid(c.Key) {
					return &storage.EntryError{Index: i, Err: storage.ErrInvalidPath}
				}
			}
			for i := range changes {
				if err := l.BatchLayer.Commit(changes[i : i+1]); err != nil {
					return err
				}
				time.Sleep(50 * time.Microsecond)
			}
			if len(changes) == 0 || !l.Active() {
				return l.BatchLayer.Commit(nil)
			}
			return nil
		}
	}},
	{"takes what says nothing for a clear", []string{"EMBEDDED-31"}, func(l *brokenLayer) {
		l.commit = func(changes []storage.Change) error {
			changes = slices.Clone(changes)
			for i, c := range changes {
				if c.Key == "" && c.Object == nil {
					changes[i].Clear = true
				}
			}
			return l.BatchLayer.Commit(changes)
		}
	}},
	{"refuses to delete an absent key in a batch", []string{"EMBEDDED-23"}, func(l *brokenLayer) {
		l.commit = func(changes []storage.Change) error {
			if len(changes) == 1 && changes[0].Object == nil && !changes[0].IsClear() && l.Active() {
				if _, err := l.BatchLayer.Get(changes[0].Key); errors.Is(err, storage.ErrNotFound) {
					return err
				}
			}
			return l.BatchLayer.Commit(changes)
		}
	}},
	{"keeps the data of a batch", []string{"EMBEDDED-24"}, func(l *brokenLayer) {
		hold := l.holding()
		l.commit = func(changes []storage.Change) error {
			err := l.BatchLayer.Commit(changes)
			for _, c := range changes {
				if err == nil && c.Object != nil {
					hold(c.Key, c.Object.Data)
				}
			}
			return err
		}
	}},
	{"brings deletes of a batch back after a restart", []string{"EMBEDDED-25"}, func(l *brokenLayer) {
		remember := l.undoneAtClose()
		l.commit = func(changes []storage.Change) error {
			for _, c := range changes {
				if c.Object == nil {
					remember(c.Key)
				}
			}
			return l.BatchLayer.Commit(changes)
		}
	}},
	{"counts revisions from 1", []string{"EMBEDDED-26"}, func(l *brokenLayer) {
		l.lastRevision = func() (uint64, error) {
			last, err := l.BatchLayer.LastRevision()
			if err == nil {
				last = max(last, 1)
			}
			return last, err
		}
	}},
	{"forgets the revision of what was deleted", []string{"EMBEDDED-27"}, func(l *brokenLayer) {
		l.start = func(opt storage.LayerOptions) error {
			err := l.BatchLayer.Start(opt)
			if err == nil {
				l.records(func(dir *directory) {
					dir.revision = 0
					for path, record := range dir.records {
						if obj, err := decode(path, record); err == nil {
							dir.revision = max(dir.revision, obj.Revision)
						}
					}
				})
			}
			return err
		}
	}},
	{"commits in silence when it is closed", []string{"EMBEDDED-28"}, func(l *brokenLayer) {
		l.commit = func(changes []storage.Change) error {
			if !l.Active() {
				return nil
			}
			return l.BatchLayer.Commit(changes)
		}
	}},
	{"writes nothing where data and times are the same", []string{"EMBEDDED-30"}, func(l *brokenLayer) {
		l.commit = func(changes []storage.Change) error {
			news := slices.DeleteFunc(slices.Clone(changes), func(c storage.Change) bool {
				if c.Object == nil {
					return false
				}
				old, err := l.BatchLayer.Get(c.Key)
				return err == nil && old.Created == c.Object.Created && old.Updated == c.Object.Updated && bytes.Equal(old.Data, c.Object.Data)
			})
			if len(news) == 0 {
				return nil
			}
			return l.BatchLayer.Commit(news)
		}
	}},
	{"drops update times in a batch", []string{"EMBEDDED-29"}, func(l *brokenLayer) {
		l.commit = func(changes []storage.Change) error {
			changes = slices.Clone(changes)
			for i, c := range changes {
				if c.Object != nil {
					obj := *c.Object
					obj.Updated = 0
					changes[i].Object = &obj
				}
			}
			return l.BatchLayer.Commit(changes)
		}
	}},

	{"scans in the order of whole paths", []string{"EMBEDDED-40"}, func(l *brokenLayer) {
		l.scan = scanList(l, func(list []meta.Object) []meta.Object {
			slices.SortFunc(list, func(a, b meta.Object) int { return cmp.Compare(a.Path, b.Path) })
			return list
		})
	}},
	{"scans whole directories", []string{"EMBEDDED-41"}, func(l *brokenLayer) {
		l.scan = func(pattern string) iter.Seq2[meta.Object, error] {
			if key.IsValid(pattern) && key.Parent(pattern) != "" {
				pattern = key.Parent(pattern) + "/*"
			}
			return l.BatchLayer.Scan(pattern)
		}
	}},
	{"scans what is there at the moment", []string{"EMBEDDED-42"}, func(l *brokenLayer) {
		l.scan = func(pattern string) iter.Seq2[meta.Object, error] {
			return func(yield func(meta.Object, error) bool) {
				for obj, err := range l.BatchLayer.Scan(pattern) {
					if again, err := l.BatchLayer.Get(obj.Path); err == nil {
						obj = again
					}
					if !yield(obj, err) {
						return
					}
				}
			}
		}
	}},
	{"lets writers wait for a scan", []string{"EMBEDDED-43"}, func(l *brokenLayer) { lockingScan(l, false) }},
	{"keeps its lock when a scan ends early", []string{"EMBEDDED-44"}, func(l *brokenLayer) { lockingScan(l, true) }},
	{"scans its own memory", []string{"EMBEDDED-45"}, func(l *brokenLayer) {
		l.scan = scanList(l, func(list []meta.Object) []meta.Object {
			l.records(func(dir *directory) {
				for i := range list {
					list[i].Data = dir.records[list[i].Path][recordHeader:]
				}
			})
			return list
		})
	}},
	{"scans nothing when it is closed", []string{"EMBEDDED-46"}, func(l *brokenLayer) {
		l.scan = func(pattern string) iter.Seq2[meta.Object, error] {
			if !l.Active() {
				return func(func(meta.Object, error) bool) {}
			}
			return l.BatchLayer.Scan(pattern)
		}
	}},
	{"scans nothing for an invalid pattern", []string{"EMBEDDED-47"}, func(l *brokenLayer) {
		l.scan = func(pattern string) iter.Seq2[meta.Object, error] {
			if pattern != "" && !key.IsValid(pattern) {
				return func(func(meta.Object, error) bool) {}
			}
			return l.BatchLayer.Scan(pattern)
		}
	}},
	{"hints at fewer objects than none", []string{"EMBEDDED-50"}, func(l *brokenLayer) {
		l.sizeHint = func() int { return l.BatchLayer.SizeHint() - 1 }
	}},
}
