package storagetest

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// brokenLayer is a BatchLayer of which some methods are replaced by wrong ones.
type brokenLayer struct {
	*BatchLayer
	start        func(opt storage.LayerOptions) error
	close        func()
	get          func(path string) (meta.Object, error)
	getList      func(pattern string) ([]meta.Object, error)
	set          func(path string, obj *meta.Object) error
	del          func(path string) error
	keys         func() ([]string, error)
	clear        func()
	load         func() (map[string]*meta.Object, error)
	commit       func(changes []storage.Change) error
	lastRevision func() (uint64, error)
	scan         func(pattern string) iter.Seq2[meta.Object, error]
	sizeHint     func() int
}

func (l *brokenLayer) Start(opt storage.LayerOptions) error {
	if l.start != nil {
		return l.start(opt)
	}
	return l.BatchLayer.Start(opt)
}

func (l *brokenLayer) Close() {
	if l.close != nil {
		l.close()
		return
	}
	l.BatchLayer.Close()
}

func (l *brokenLayer) Get(path string) (meta.Object, error) {
	if l.get != nil {
		return l.get(path)
	}
	return l.BatchLayer.Get(path)
}

func (l *brokenLayer) GetList(pattern string) ([]meta.Object, error) {
	if l.getList != nil {
		return l.getList(pattern)
	}
	return l.BatchLayer.GetList(pattern)
}

func (l *brokenLayer) Set(path string, obj *meta.Object) error {
	if l.set != nil {
		return l.set(path, obj)
	}
	return l.BatchLayer.Set(path, obj)
}

func (l *brokenLayer) Del(path string) error {
	if l.del != nil {
		return l.del(path)
	}
	return l.BatchLayer.Del(path)
}

func (l *brokenLayer) Keys() ([]string, error) {
	if l.keys != nil {
		return l.keys()
	}
	return l.BatchLayer.Keys()
}

func (l *brokenLayer) Clear() {
	if l.clear != nil {
		l.clear()
		return
	}
	l.BatchLayer.Clear()
}

func (l *brokenLayer) Load() (map[string]*meta.Object, error) {
	if l.load != nil {
		return l.load()
	}
	return l.BatchLayer.Load()
}

func (l *brokenLayer) Commit(changes []storage.Change) error {
	if l.commit != nil {
		return l.commit(changes)
	}
	return l.BatchLayer.Commit(changes)
}

func (l *brokenLayer) LastRevision() (uint64, error) {
	if l.lastRevision != nil {
		return l.lastRevision()
	}
	return l.BatchLayer.LastRevision()
}

func (l *brokenLayer) Scan(pattern string) iter.Seq2[meta.Object, error] {
	if l.scan != nil {
		return l.scan(pattern)
	}
	return l.BatchLayer.Scan(pattern)
}

func (l *brokenLayer) SizeHint() int {
	if l.sizeHint != nil {
		return l.sizeHint()
	}
	return l.BatchLayer.SizeHint()
}

// records gives a broken layer the content of its directory, to do harm to.
func (l *brokenLayer) records(harm func(dir *directory)) {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	harm(l.disk.directoryLocked(l.name))
}

// undoneAtClose makes a layer put records back when it is closed.
func (l *brokenLayer) undoneAtClose() (remember func(path string)) {
	kept := map[string][]byte{}
	l.close = func() {
		l.records(func(dir *directory) { maps.Copy(dir.records, kept) })
		l.BatchLayer.Close()
	}
	return func(path string) {
		l.records(func(dir *directory) {
			if record, ok := dir.records[path]; ok && kept[path] == nil {
				kept[path] = record
			}
		})
	}
}

// holding makes a layer give out the data that it was given, instead of a copy.
func (l *brokenLayer) holding() (hold func(path string, data json.RawMessage)) {
	var mu sync.Mutex
	held := map[string]json.RawMessage{}
	l.get = func(path string) (meta.Object, error) {
		obj, err := l.BatchLayer.Get(path)
		mu.Lock()
		defer mu.Unlock()
		if data, ok := held[path]; ok && err == nil {
			obj.Data = data
		}
		return obj, err
	}
	return func(path string, data json.RawMessage) {
		mu.Lock()
		defer mu.Unlock()
		held[path] = slices.Clip(data)
	}
}

// everything returns all objects that can be decoded, by time.
func (l *brokenLayer) everything() []meta.Object {
	all := []meta.Object{}
	l.records(func(dir *directory) {
		for path, record := range dir.records {
			if obj, err := decode(path, record); err == nil {
				all = append(all, obj)
			}
		}
	})
	slices.SortFunc(all, byCreated)
	return all
}

// scanList makes a scan of a changed snapshot.
func scanList(l *brokenLayer, change func([]meta.Object) []meta.Object) func(string) iter.Seq2[meta.Object, error] {
	return func(pattern string) iter.Seq2[meta.Object, error] {
		return func(yield func(meta.Object, error) bool) {
			list, err := l.snapshot(pattern)
			if err != nil {
				yield(meta.Object{}, err)
				return
			}
			slices.SortFunc(list, byPlace)
			for _, obj := range change(list) {
				if !yield(obj, nil) {
					return
				}
			}
		}
	}
}

// lockingScan makes a layer hold a lock during a scan, against writers; or, when leaky,
// only from the early end of one on.
func lockingScan(l *brokenLayer, leaky bool) {
	var mu sync.RWMutex
	l.scan = func(pattern string) iter.Seq2[meta.Object, error] {
		return func(yield func(meta.Object, error) bool) {
			if !leaky {
				mu.RLock()
				defer mu.RUnlock()
			}
			for obj, err := range l.BatchLayer.Scan(pattern) {
				if !yield(obj, err) {
					if leaky {
						mu.RLock()
					}
					return
				}
			}
		}
	}
	l.set = func(path string, obj *meta.Object) error {
		mu.Lock()
		defer mu.Unlock()
		return l.BatchLayer.Set(path, obj)
	}
}

// TestBrokenLayers runs the suite on layers with one fault each: its clause must fail, and
// no other.
func TestBrokenLayers(t *testing.T) {
	for _, broken := range brokenLayers {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			disk := &Disk{}
			open := func(t T, dir string) storage.EmbeddedLayer {
				l := &brokenLayer{BatchLayer: NewBatchLayer(disk, dir)}
				broken.harm(l)
				return l
			}
			s := embeddedSubject(open, Options{
				Persistent: true,
				Exclusive:  true,
				Corrupt:    func(t T, dir, path string) { must(t, "Corrupt", disk.Corrupt(dir, path)) },
			})
			wantFailures(t, slices.Concat(layerClauses, embeddedClauses), s, broken.want...)
		})
	}
}
