package client_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// networked is a store whose subscriptions go over the network, for the suite of storagetest.
type networked struct {
	*storage.Layered
	t storagetest.T

	mu      sync.Mutex // guards what follows; signalled by recorded
	handler *server.Server
	web     *httptest.Server
	client  *client.Client
	closed  context.Context // ends with Close
	end     context.CancelFunc
	// removed has what was removed, by path and revision: that does not come over the network, and the suite compares it.
	removed  map[removal]*meta.Object
	recorded *sync.Cond
	over     bool // the recorder has ended
}

type removal struct {
	path     string
	revision uint64
}

func newNetworked(t storagetest.T, layer storage.EmbeddedLayer) *networked {
	n := &networked{Layered: storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer}), t: t, removed: map[removal]*meta.Object{}}
	n.recorded = sync.NewCond(&n.mu)
	return n
}

func (n *networked) Start(opt storage.Options) error {
	opt.NoBroadcastKeys = append(opt.NoBroadcastKeys, server.Reserved)
	if err := n.Layered.Start(opt); err != nil {
		return err
	}
	sub, err := n.Layered.Subscribe(context.Background(), "", storage.SubscribeOptions{Lag: storage.LagError, Buffer: 1 << 20})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.over = false
	go n.record(sub)
	n.handler = server.New(n.Layered, server.Options{Logger: slog.New(slog.DiscardHandler)})
	n.web = httptest.NewServer(n.handler)
	n.closed, n.end = context.WithCancel(context.Background())
	n.client, err = client.New(n.web.URL, client.Options{HTTP: &http.Client{Transport: &http.Transport{}}})
	return err
}

// record notes what is removed.
func (n *networked) record(sub *storage.Subscription) {
	defer sub.Close()
	for {
		notice, err := sub.Next(context.Background())
		n.mu.Lock()
		if err != nil {
			n.over = true
		} else if notice.Kind == storage.NoticeDel {
			n.removed[removal{notice.Path, notice.Revision}] = notice.Object
		}
		n.recorded.Broadcast()
		n.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// fill puts what was removed into a notice.
func (n *networked) fill(notice storage.Notice) storage.Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := removal{notice.Path, notice.Revision}
	for n.removed[at] == nil && !n.over {
		n.recorded.Wait()
	}
	if obj := n.removed[at]; obj != nil {
		notice.Object = obj
	}
	return notice
}

func (n *networked) Close() {
	n.mu.Lock()
	end, handler, web := n.end, n.handler, n.web
	n.end = nil
	n.mu.Unlock()
	if end != nil {
		end()
		handler.Close()
		web.CloseClientConnections()
		web.Close()
	}
	n.Layered.Close()
}

// Subscribe follows over the network, but for the subscriber that must miss nothing: from that the suite takes what was committed.
func (n *networked) Subscribe(ctx context.Context, pattern string, opt storage.SubscribeOptions) (storagetest.Cursor, error) {
	if opt.Lag == storage.LagError && opt.Buffer > 1000 {
		return n.Layered.Subscribe(ctx, pattern, opt)
	}
	if opt.From > n.Revision() {
		return nil, storage.ErrFutureRevision
	}
	if pattern == "" {
		pattern = "**"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.Active() || n.end == nil {
		return nil, storage.ErrNotActive
	}
	sub, err := n.client.Store(context.Background()).Subscribe(ctx, pattern, storage.SubscribeOptions{From: opt.From})
	if err != nil && n.closed.Err() != nil {
		err = storage.ErrNotActive
	}
	if err != nil {
		return nil, err
	}
	return &netCursor{sub, n, n.closed}, nil
}

// netCursor is a subscription over the network that ends with its store.
type netCursor struct {
	*client.Subscription
	store  *networked
	closed context.Context
}

func (c *netCursor) Next(ctx context.Context) (storage.Notice, error) {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.Lag() == 0 { // what has arrived is told at the end too
		defer context.AfterFunc(c.closed, cancel)()
	}
	n, err := c.Subscription.Next(within)
	if err != nil && c.closed.Err() != nil && !errors.Is(err, storage.ErrSubscriptionClosed) {
		return n, storage.ErrNotActive
	}
	if err == nil && n.Kind == storage.NoticeDel {
		n = c.store.fill(n)
	}
	return n, err
}

// What a client's subscriptions tell is held against all guarantees of a store's.
func TestSubscriptionSuite(t *testing.T) {
	for name, layer := range map[string]func() storage.EmbeddedLayer{
		"memory":  func() storage.EmbeddedLayer { return nil },
		"durable": func() storage.EmbeddedLayer { return storagetest.NewBatchLayer(new(storagetest.Disk), "store") },
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.TestSubscriptions(t, func(t storagetest.T) storage.Database { return newNetworked(t, layer()) },
				storagetest.Options{Persistent: name == "durable"}, rand.Uint64())
		})
	}
}
