package enginekit_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
	"github.com/oolith-db/oolith/storagetest"
)

var space = enginekit.NewSpace([]byte("k"))

// table is the simplest database there is: sorted pairs in memory, copied for each scan.
type table struct {
	mu       sync.Mutex // guards the fields below
	pairs    []pair
	revision uint64
	fails    error // of the next commit
}

type pair struct{ key, value []byte }

func byKey(p pair, key []byte) int { return bytes.Compare(p.key, key) }

func (d *table) Get(path string) (meta.Object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, found := slices.BinarySearchFunc(d.pairs, space.Append(nil, path), byKey)
	if !found {
		return meta.Object{}, storage.ErrNotFound
	}
	return enginekit.Decode(path, d.pairs[i].value)
}

func (d *table) Keys() (paths []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.pairs {
		path, _, err := space.Path(p.key, nil)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func (d *table) Scan(pattern string) (enginekit.Iterator, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return space.Iterate(pattern, &pairs{all: slices.Clone(d.pairs)}), nil
}

func (d *table) Commit(changes []storage.Change, revision uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails != nil {
		return d.fails
	}
	for _, c := range changes {
		key := space.Append(nil, c.Key)
		i, found := slices.BinarySearchFunc(d.pairs, key, byKey)
		switch {
		case c.Clear:
			d.pairs = nil
		case c.Object == nil && found:
			d.pairs = slices.Delete(slices.Clone(d.pairs), i, i+1)
		case c.Object != nil:
			d.pairs = slices.Insert(slices.Clone(d.pairs), i, pair{key, enginekit.AppendObject(nil, c.Key, c.Object)})
			if found {
				d.pairs = slices.Delete(d.pairs, i+1, i+2)
			}
		}
	}
	d.revision = max(d.revision, revision)
	return nil
}

func (d *table) LastRevision() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.revision, nil
}

func (d *table) SizeHint() int { return 7 }

func (d *table) Close() error { return nil }

// pairs is a Cursor.
type pairs struct {
	all []pair
	at  int
}

func (p *pairs) Seek(key []byte) []byte {
	p.at, _ = slices.BinarySearchFunc(p.all, key, byKey)
	return p.here()
}

func (p *pairs) Next() []byte {
	p.at++
	return p.here()
}

func (p *pairs) here() []byte {
	if p.at >= len(p.all) {
		return nil
	}
	return p.all[p.at].key
}

func (p *pairs) Value() ([]byte, error) { return p.all[p.at].value, nil }
func (p *pairs) Err() error             { return nil }
func (p *pairs) Close() error           { return nil }

// open returns a layer over a table, and its life.
func open(d *table, config enginekit.Config[*table]) (*enginekit.Layer[*table], *enginekit.Life[*table]) {
	config.Name, config.Place, config.What = "table", "DIR", "the directory"
	if config.Open == nil {
		config.Open = func(context.Context, storage.LayerOptions) (*table, error) { return d, nil }
	}
	return enginekit.New(config)
}

// The layer of a database keeps all clauses, those of batches and scans included.
func TestConformance(t *testing.T) {
	var mu sync.Mutex
	tables := map[string]*table{}
	storagetest.TestEmbedded(t, func(_ storagetest.T, dir string) storage.EmbeddedLayer {
		mu.Lock()
		defer mu.Unlock()
		if tables[dir] == nil {
			tables[dir] = &table{}
		}
		l, _ := open(tables[dir], enginekit.Config[*table]{})
		return l
	}, storagetest.Options{Persistent: true, Corrupt: func(t storagetest.T, dir, path string) {
		d := tables[dir]
		i, found := slices.BinarySearchFunc(d.pairs, space.Append(nil, path), byKey)
		if !found {
			t.Fatalf("%s has no %q", dir, path)
		}
		value := bytes.Clone(d.pairs[i].value)
		value[len(value)-1] ^= 1
		d.pairs[i].value = value
	}})
}

var errDisk = errors.New("the disk failed, on purpose")

func object(data string) *meta.Object { return &meta.Object{Created: 1, Data: []byte(data)} }

// started returns a layer that is open until the test ends.
func started(t *testing.T, d *table, config enginekit.Config[*table]) (*enginekit.Layer[*table], *enginekit.Life[*table]) {
	t.Helper()
	l, life := open(d, config)
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l, life
}

// After a write that failed nothing more is written until the next start, and reads go on.
func TestFailedWrite(t *testing.T) {
	d := &table{}
	l, life := started(t, d, enginekit.Config[*table]{Explain: func(err error) error { return errors.Join(errors.New("advice"), err) }})
	if err := l.Set("a", object("1")); err != nil {
		t.Fatal(err)
	}
	d.fails = &storage.EntryError{Index: 0, Err: errDisk}
	if err := l.Set("a", object("2")); !errors.Is(err, errDisk) || life.Failure() != nil {
		t.Errorf("a write that is refused: %v, and then %v, want its error and no failure", err, life.Failure())
	}
	d.fails = errDisk
	first := l.Set("a", object("2"))
	d.fails = nil
	for what, err := range map[string]error{
		"the write that fails": first, "Set": l.Set("a", object("3")), "Del": l.Del("a"), "Commit": l.Commit([]storage.Change{{Key: "a"}}),
		"a write of the engine's own": life.Write(func(*table) error { return nil }), "Failure": life.Failure(),
	} {
		if !errors.Is(err, errDisk) || !strings.HasPrefix(err.Error(), "table: the store in DIR takes no more writes") || !strings.Contains(err.Error(), "advice") {
			t.Errorf("%s: %v, want that no more is written, and why", what, err)
		}
	}
	if obj, err := l.Get("a"); err != nil || string(obj.Data) != "1" {
		t.Errorf("Get after that: %s, %v, want 1", obj.Data, err)
	}
	l.Close()
	if err := l.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := l.Set("a", object("4")); err != nil {
		t.Errorf("Set after the next start: %v", err)
	}
}

func TestReadOnlyLayer(t *testing.T) {
	l, life := started(t, &table{}, enginekit.Config[*table]{ReadOnly: true})
	for what, err := range map[string]error{
		"Set": l.Set("a", object("1")), "Del": l.Del("a"), "Commit": l.Commit([]storage.Change{{Clear: true}}), "Write": life.Write(func(*table) error { return nil }),
	} {
		if !errors.Is(err, storage.ErrReadOnly) || !l.ReadOnly() {
			t.Errorf("%s: %v, want ErrReadOnly", what, err)
		}
	}
}

func TestErrorsNameTheirPlace(t *testing.T) {
	l, life := open(nil, enginekit.Config[*table]{Open: func(context.Context, storage.LayerOptions) (*table, error) {
		return nil, &fs.PathError{Op: "open", Path: "DIR/x", Err: fs.ErrPermission}
	}})
	if err := l.Start(storage.LayerOptions{}); err == nil || !strings.HasPrefix(err.Error(), "table: open DIR: the directory cannot be written; change") {
		t.Errorf("Start: %v, want what to do", err)
	}
	if l.Active() {
		t.Error("a layer whose start failed is active")
	}
	if err := life.Wrap("read", errDisk); err.Error() != "table: read in DIR: "+errDisk.Error() || !errors.Is(err, errDisk) {
		t.Errorf("Wrap: %v", err)
	}
	if life.Wrap("read", nil) != nil || life.Wrap("read", storage.ErrNotActive) != storage.ErrNotActive {
		t.Error("Wrap changes nil or ErrNotActive")
	}
	if err := life.Use(func(*table) error { return errDisk }); err != storage.ErrNotActive {
		t.Errorf("Use before Start: %v, want ErrNotActive", err)
	}
}

// Close ends the context of Open before it waits for calls in progress.
func TestCloseEndsLongCalls(t *testing.T) {
	var closing context.Context
	l, life := started(t, &table{}, enginekit.Config[*table]{Open: func(ctx context.Context, _ storage.LayerOptions) (*table, error) {
		closing = ctx
		return &table{}, nil
	}})
	inside := make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- life.Use(func(*table) error {
			close(inside)
			<-closing.Done()
			return closing.Err()
		})
	}()
	<-inside
	l.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the call ends with %v, want Canceled", err)
	}
	if l.SizeHint() != 0 {
		t.Error("a closed layer has a size")
	}
}

func TestSizeHintOfTheDatabase(t *testing.T) {
	if l, _ := started(t, &table{}, enginekit.Config[*table]{}); l.SizeHint() != 7 {
		t.Errorf("SizeHint is %d, want the database's", l.SizeHint())
	}
}
