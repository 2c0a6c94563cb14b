package cluster

import (
	"iter"
	"sync"

	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/cluster/etcdserver"
	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// endpoint is a member that all tests of the suite share, each with a prefix of its own.
var endpoint string

func TestMain(m *testing.M) {
	etcdserver.SmallFiles()
	etcdserver.RunMember()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "oolith-etcd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ports, err := etcdserver.FreePorts(2)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	self := etcdserver.Member{Name: "one", ClientPort: ports[0], PeerPort: ports[1]}
	server, err := etcdserver.Start(context.Background(), dir, self, []etcdserver.Member{self})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Close()
	endpoint = self.Client()
	return m.Run()
}

var prefixes atomic.Int64

func freshPrefix() string { return fmt.Sprintf("test/%d/", prefixes.Add(1)) }

func newStore(prefix string) *storage.Layered {
	return storage.New(storage.LayeredConfig{
		Memory:   storage.NewMemoryLayer(),
		Embedded: etcd.New([]string{endpoint}, etcd.Options{Prefix: prefix}),
	})
}

func TestConformance(t *testing.T) {
	open := func(storagetest.T) storage.Database { return newStore(freshPrefix()) }
	opts := storagetest.Options{Persistent: true}
	storagetest.TestDatabase(t, open, opts)
	storagetest.TestEvents(t, open, opts)
	storagetest.TestSubscribe(t, open, opts)
}

// TestLayer checks the layer as one that stands alone. A directory of the suite is a prefix.
func TestLayer(t *testing.T) {
	var given sync.Map
	storagetest.TestEmbedded(t, func(_ storagetest.T, dir string) storage.EmbeddedLayer {
		return &asGiven{etcd.New([]string{endpoint}, etcd.Options{Prefix: "layer" + dir}), dir, &given}
	}, storagetest.Options{Persistent: true})
}

// asGiven is a layer whose objects have the revision that they were set with, as the suite expects it of layers, and not
// that of the shared order.
type asGiven struct {
	*etcd.Layer
	dir   string
	given *sync.Map // revisions, by what they were given to
}

// of is what tells an object that was set from others.
func (l *asGiven) of(path string, obj *meta.Object) string {
	return fmt.Sprint(l.dir, path, " ", obj.Created, " ", obj.Updated, " ", string(obj.Data))
}

func (l *asGiven) Set(path string, obj *meta.Object) error {
	if obj != nil {
		l.given.Store(l.of(path, obj), obj.Revision)
	}
	return l.Layer.Set(path, obj)
}

func (l *asGiven) as(obj *meta.Object) {
	if revision, ok := l.given.Load(l.of(obj.Path, obj)); ok {
		obj.Revision = revision.(uint64)
	}
}

func (l *asGiven) Get(path string) (meta.Object, error) {
	obj, err := l.Layer.Get(path)
	if err == nil {
		l.as(&obj)
	}
	return obj, err
}

func (l *asGiven) GetList(pattern string) ([]meta.Object, error) {
	list, err := l.Layer.GetList(pattern)
	for i := range list {
		l.as(&list[i])
	}
	return list, err
}

func (l *asGiven) Load() (map[string]*meta.Object, error) {
	all, err := l.Layer.Load()
	for _, obj := range all {
		l.as(obj)
	}
	return all, err
}

func (l *asGiven) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		for obj, err := range l.Layer.Scan(pattern) {
			l.as(&obj)
			if !yield(obj, err) {
				return
			}
		}
	}
}
