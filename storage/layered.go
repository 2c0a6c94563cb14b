package storage

import (
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/internal/pathtree"
)

// Layered is the store: a Database over a memory layer, a persistent layer, or both.
//
// With both, reads are answered from memory and writes go through the persistent
// layer first. With LayeredConfig.MemoryOptions.SkipLoadMemory memory is a cache of a
// bounded size: it starts empty, a read that misses fills it, and lists come from the persistent layer.
//
// All methods may be called from any number of goroutines.
type Layered struct {
	cfg     LayeredConfig
	options Options

	// run is what exists between Start and Close; nil otherwise. All other state of the
	// store lives in it, so that no flag can be out of step.
	run atomic.Pointer[run]

	hooks sync.Mutex // guards options.BeforeRead, and the store of run; nothing is done under it

	life sync.Mutex // serialises Start and Close, guards revision
	// revision is the last one of the runs that ended.
	revision uint64
}

var _ Database = (*Layered)(nil)

// New returns a store over the given layers, which Start opens. The options are what
// Start takes where its own are zero.
func New(cfg LayeredConfig, options ...Options) *Layered {
	l := &Layered{cfg: cfg}
	for _, o := range options {
		l.options = l.options.replacedBy(o)
	}
	return l
}

// run is a store from Start to Close.
//
// LOCK ORDER: Layered.life; then Layered.hooks; then what a commit takes: the leadership of the pipeline
// (pipeline.mu, which is held for moments only, but for a whole commit where there is no persistent layer), readGate.calls, run.whole, the locks inside of layers,
// fillSlot.mu, the lock of the cache, shard.mu, expirer.mu; then feed.mu, watch.mu,
// Subscription.mu, feed.incoming. Snapshot.mu comes before all of them but life. lockTable.mu
// is taken behind any of them and before none but mirror.mu, which is held for moments; mirror.turn comes behind the leadership of
// the pipeline and before what a commit takes. None is held across a hook, a watcher's callback, or a send that can block.
type run struct {
	// direct is memory where a Get that finds its object there has nothing else to do; nil where a hook comes first.
	direct atomic.Pointer[pathtree.Tree]

	options Options
	// hook is Options.BeforeRead, or what took its place; nil for none.
	hook     atomic.Pointer[func(key string)]
	id       uint64 // of the store, for its cursors; 0 for unknown
	identity uint64 // the same, or one of this run where it is unknown

	view   view
	memory *pathtree.Tree // of memoryView; nil in any other view
	layer  EmbeddedLayer  // nil without a persistent layer
	batch  Batcher        // layer's, nil when it has none
	shared SharedLayer    // layer, where it is one
	mirror *mirror        // of shared; nil without it, and until memory is filled
	async  AsyncBatcher   // layer's, nil when it has none or groups must not overlap
	// inPlace says that a write of one key has nobody to wait for (commitInPlace): there is memory alone, and no
	// limit of a list.
	inPlace bool
	// readOnly says that layer is opened to read only: no write is taken.
	readOnly bool
	// skips says that layer holds entries which it leaves out, and memory with it.
	skips bool

	*readGate
	// whole is held for reading by every read of a layer without batches, and for writing
	// by a glob delete and a clear there.
	whole sync.RWMutex

	pipeline pipeline
	timing   timing
	locks    *lockTable // apart: a Lease that is kept holds on to it, and to nothing else

	expirer  expirer
	expiring atomic.Bool // something expires, or did
	retained retained    // only the leader uses it
	ages     bool        // a rule of Options.Retention has an Age

	feed        feed
	sharded     atomic.Pointer[ShardedChan] // nil until the first WatchSharded
	shardedOnce sync.Once
}

// readGate ends the reads of a run. It is apart from the run: a Snapshot that is kept holds on to it, and to
// nothing else.
type readGate struct {
	// calls is held for reading by every read of a persistent layer, and for writing by Close, which
	// sets closed. The pipeline needs it not: Close waits for it.
	calls  sync.RWMutex
	closed bool
}

// atomic reports whether several changes can be committed as one.
func (r *run) atomic() bool { return r.layer == nil || r.batch != nil || r.shared != nil }

// active returns the run, or ErrNotActive.
func (l *Layered) active() (*run, error) {
	if r := l.run.Load(); r != nil {
		return r, nil
	}
	return nil, ErrNotActive
}

// ID tells the content of this store from that of every other one: it was drawn at random when the persistent layer was
// made, and stays for as long as that lives. 0 stands for a store that is not active.
//
// Revisions of one store mean nothing in another. Who keeps a revision outside of the store, in a resume token or an
// ETag, keeps the ID with it, and begins anew where it is another one. A backup, a copy and an export hold no ID: what
// they are restored into has one of its own. A copy of the files of a layer has the same as the original.
//
// A store in memory, and one over a layer that is not Identified, has another ID after each Start. An ID can be beyond
// 2^53: in JSON, readers that take numbers for floats need it as a string.
func (l *Layered) ID() uint64 {
	if r := l.run.Load(); r != nil {
		return r.identity
	}
	return 0
}

// Active reports whether the store is started.
func (l *Layered) Active() bool { return l.run.Load() != nil }
