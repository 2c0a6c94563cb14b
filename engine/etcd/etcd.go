package etcd

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/oolith-db/oolith/internal/watermark"
	"github.com/oolith-db/oolith/storage"
)

const (
	defaultPrefix         = "oolith/"
	defaultRequestTimeout = 5 * time.Second
	defaultMaxRequest     = 5 << 18
	keepAlive             = 2 * time.Second
	formatVersion         = 1
)

// Options configures a Layer. The zero value is for a cluster without authentication.
type Options struct {
	// Prefix is the prefix of all keys of the store; "oolith/" if empty. A slash is appended. Stores do not affect
	// each other if none of their prefixes begins with another.
	Prefix string
	// Username and Password authenticate with etcd.
	Username, Password string
	// TLS is the configuration of connections; nil for none.
	TLS *tls.Config
	// Existing requires an existing store below the prefix: none is created.
	Existing bool
	// ReadOnly opens the store read-only: nothing is written to the cluster.
	ReadOnly bool
	// RequestTimeout is the maximum duration of a request. After it, the engine counts as unavailable. 5 seconds if
	// zero.
	RequestTimeout time.Duration
	// MaxRequest is the maximum number of bytes of data in a transaction; 1.25 MiB if zero. Etcd rejects requests of
	// more than its --max-request-bytes, 1.5 MiB by default.
	MaxRequest int
	// Logger receives log messages; slog.Default if nil.
	Logger *slog.Logger
}

// Layer is a persistent layer in an etcd cluster. It implements storage.SharedLayer. Use New to create one.
type Layer struct {
	endpoints []string
	options   Options
	keys      keys
	refused   error // why Start must fail: the URL has an invalid option

	life    sync.Mutex // serialises Start and Close
	session atomic.Pointer[session]
}

var (
	_ storage.SharedLayer = (*Layer)(nil)
	_ storage.Scanner     = (*Layer)(nil)
	_ storage.Identified  = (*Layer)(nil)

	_ storage.IncompleteMarker = (*Layer)(nil)

	_ storage.ReadOnlyLayer = (*Layer)(nil)
)

// session is the state of a layer between Start and Close.
type session struct {
	keys    keys
	options Options
	client  *clientv3.Client
	id      uint64
	node    string
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	work    sync.WaitGroup
	elected atomic.Bool

	// proposing is held during a transaction: each is guarded by the record of the previous one.
	proposing sync.Mutex
	known     int64  // etcd's revision of the node's record; guarded by proposing, like last
	last      uint64 // the ID of the last transaction

	seen watermark.Watermark // the revision of etcd up to which Follow yielded everything
}

// New returns a layer over the members of a cluster, given as "host:port" or as URLs. Start connects to them.
func New(endpoints []string, options Options) *Layer {
	if options.Prefix == "" {
		options.Prefix = defaultPrefix
	}
	if !strings.HasSuffix(options.Prefix, "/") {
		options.Prefix += "/"
	}
	if options.RequestTimeout == 0 {
		options.RequestTimeout = defaultRequestTimeout
	}
	if options.MaxRequest == 0 {
		options.MaxRequest = defaultMaxRequest
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	return &Layer{endpoints: endpoints, options: options, keys: keys{options.Prefix}}
}

// Active reports whether the layer is started.
func (l *Layer) Active() bool { return l.session.Load() != nil }

// Start connects to the cluster. It creates a store if there is none below the prefix, unless Options.Existing is
// set.
func (l *Layer) Start(opt storage.LayerOptions) error {
	l.life.Lock()
	defer l.life.Unlock()
	if l.Active() {
		return storage.ErrActive
	}
	if l.refused != nil {
		return fmt.Errorf("etcd: %w", l.refused)
	}
	s := &session{keys: l.keys, options: l.options, node: strings.ToLower(rand.Text())}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var err error
	s.client, err = clientv3.New(clientv3.Config{
		Endpoints: l.endpoints, Username: l.options.Username, Password: l.options.Password, TLS: l.options.TLS,
		DialTimeout: l.options.RequestTimeout, DialKeepAliveTime: keepAlive, DialKeepAliveTimeout: keepAlive,
		MaxUnaryRetries: 1, Context: s.ctx, Logger: zap.NewNop(),
	})
	if err == nil {
		if err = s.open(l.endpoints, opt); err != nil {
			_ = s.client.Close() // nothing was done with it
		}
	}
	if err != nil {
		s.cancel()
		err = explain(err)
		if errors.Is(err, storage.ErrUnavailable) {
			if why := diagnose(l.endpoints, l.options.TLS); why != nil {
				err = fmt.Errorf("%w, %s", storage.ErrUnavailable, strings.ReplaceAll(why.Error(), "\n", "; "))
			}
		}
		return fmt.Errorf("etcd: %s: %w", strings.Join(l.endpoints, ","), err)
	}
	if !l.options.ReadOnly {
		s.work.Go(s.elect)
		s.work.Go(s.live)
	}
	l.session.Store(s)
	return nil
}

// ReadOnly reports whether the layer is opened read-only.
func (l *Layer) ReadOnly() bool { return l.options.ReadOnly }

// Close closes the connection. The content of the cluster stays.
func (l *Layer) Close() {
	l.life.Lock()
	defer l.life.Unlock()
	s := l.session.Swap(nil)
	if s == nil {
		return
	}
	// No other node needs the record of a node that is gone. If it cannot be removed, it does no harm.
	if !s.options.ReadOnly && s.proposing.TryLock() {
		ctx, cancel := context.WithTimeout(s.ctx, time.Second)
		_, err := s.client.Delete(ctx, s.keys.record(s.node))
		cancel()
		s.cancel() // before the next transaction finds the record missing
		s.proposing.Unlock()
		if err != nil {
			s.options.Logger.Info("oolith: etcd: the record of this node stays", slog.Any("error", explain(err)))
		}
	}
	s.cancel()
	s.work.Wait()
	_ = s.client.Close() // its context has ended
}

// active returns the session, or storage.ErrNotActive.
func (l *Layer) active() (*session, error) {
	if s := l.session.Load(); s != nil {
		return s, nil
	}
	return nil, storage.ErrNotActive
}

// now returns the current revision of etcd. It needs a quorum: everything committed before the call is at or below
// this revision.
func (s *session) now(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.RequestTimeout)
	defer cancel()
	marker, err := s.client.Get(ctx, s.keys.marker())
	if err != nil {
		return 0, s.explain(err)
	}
	return marker.Header.Revision, nil
}

// timeout returns the context of one request.
func (s *session) timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, s.options.RequestTimeout)
}

// ID returns a number that identifies the store.
func (l *Layer) ID() (uint64, error) {
	s, err := l.active()
	if err != nil {
		return 0, err
	}
	return s.id, nil
}

// Elected reports whether this node removes expired objects.
func (l *Layer) Elected() bool {
	s := l.session.Load()
	return s != nil && s.elected.Load()
}

func randomID() uint64 {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails
	id := uint64(0)
	for _, b := range raw {
		id = id<<8 | uint64(b)
	}
	return id | 1
}

// explain converts the error of a request that only Close cancels.
func (s *session) explain(err error) error {
	if err != nil && s.ctx.Err() != nil {
		return storage.ErrNotActive
	}
	return explain(err)
}

// explain translates etcd's errors to those of the store.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return errors.New("the user name or the password is wrong")
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return errors.New("the cluster demands a user name and a password")
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return errors.New("the user has no permission for the prefix: grant read and write below it")
	case errors.Is(err, rpctypes.ErrNoSpace):
		return errors.New("the cluster's database is full: compact and defragment it, or raise its quota")
	case errors.Is(err, rpctypes.ErrCompacted):
		return fmt.Errorf("%w, the content was compacted while it was read", storage.ErrHistoryGone)
	case unreachable(err):
		return fmt.Errorf("%w, %w", storage.ErrUnavailable, err)
	}
	return err
}
