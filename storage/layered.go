package storage

import (
	"sync"
	"sync/atomic"

	"github.com/oolith-db/oolith/internal/pathtree"
)

// Layered is the store: a Database over a memory layer, a persistent layer, or both.
//
// With both, reads come from memory, and writes go to the persistent layer first. With
// LayeredConfig.MemoryOptions.SkipLoadMemory, memory is a cache of bounded size: it starts empty, reads that miss
// fill it, and lists come from the persistent layer.
//
// All methods may be called concurrently.
type Layered struct {
	cfg     LayeredConfig
	options Options

	// run is the state between Start and Close; nil otherwise. All other state of the store is in it, so no flag can
	// be inconsistent with it.
	run atomic.Pointer[run]

	hooks sync.Mutex // guards options.BeforeRead, and the store of run; nothing is done under it

	life sync.Mutex // serialises Start and Close, guards revision
	// revision is the last revision of the runs that ended.
	revision uint64
}

var _ Database = (*Layered)(nil)

// New returns a store over the given layers. Start opens them. The options are the defaults for zero fields in the
// options of Start.
func New(cfg LayeredConfig, options ...Options) *Layered {
	l := &Layered{cfg: cfg}
	for _, o := range options {
		l.options = l.options.replacedBy(o)
	}
	return l
}

// run is a store from Start to Close.
//
// LOCK ORDER: Layered.life; then Layered.hooks; then the locks of a commit: the leadership of the pipeline
// (pipeline.mu, which is held only briefly, but for a whole commit if there is no persistent layer), readGate.calls,
// run.whole, the locks inside layers, fillSlot.mu, the lock of the cache, shard.mu, expirer.mu; then feed.mu,
// watch.mu, Subscription.mu, feed.incoming. Snapshot.mu comes before all of them except life. lockTable.mu comes
// after any of them and before none except mirror.mu, which is held only briefly. mirror.turn comes after the
// leadership of the pipeline and before the locks of a commit. No lock is held across a hook, a watcher's callback,
// or a send that can block.
type run struct {
	// direct is memory if a Get that finds its object there has nothing else to do; nil if a hook has to run first.
	direct atomic.Pointer[pathtree.Tree]

	options Options
	// hook is Options.BeforeRead or its replacement; nil for none.
	hook     atomic.Pointer[func(key string)]
	id       uint64 // of the store, for its cursors; 0 if unknown
	identity uint64 // the same, or one of this run if unknown

	view   view
	memory *pathtree.Tree // of memoryView; nil for other views
	layer  EmbeddedLayer  // nil without a persistent layer
	batch  Batcher        // layer's, nil when it has none
	shared SharedLayer    // layer, where it is one
	mirror *mirror        // of shared; nil without it, and until memory is filled
	async  AsyncBatcher   // layer's, nil when it has none or groups must not overlap
	// inPlace means that a write of one key waits for nobody (commitInPlace): there is only memory, and no limit on a
	// list.
	inPlace bool
	// readOnly means that the layer is open read-only and the store rejects writes.
	readOnly bool
	// skips means that the layer holds entries that it skips, and that memory lacks.
	skips bool

	*readGate
	// whole is held for reading by every read of a layer without batches, and for writing by a glob delete and a
	// clear of such a layer.
	whole sync.RWMutex

	pipeline pipeline
	timing   timing
	locks    *lockTable // separate, since a Lease that a caller keeps references it and nothing else

	expirer  expirer
	expiring atomic.Bool // an object expires, or did
	retained retained    // only the leader uses it
	ages     bool        // a rule of Options.Retention has an Age

	feed        feed
	sharded     atomic.Pointer[ShardedChan] // nil until the first WatchSharded
	shardedOnce sync.Once
}

// readGate ends the reads of a run. It is separate from the run because a Snapshot that a caller keeps references it
// and nothing else.
type readGate struct {
	// calls is held for reading by every read of a persistent layer, and for writing by Close, which sets closed. The
	// pipeline does not need it, since Close waits for the pipeline.
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

// ID identifies the content of this store. It is drawn at random when the persistent layer is created and stays the
// same for the layer's lifetime. It is 0 for a store that is not active.
//
// A revision has no meaning in another store. If you keep a revision outside of the store, for example in a resume
// token or an ETag, keep the ID with it, and start over if the ID differs. Backups, copies and exports contain no ID:
// the store they are restored into has its own. A copy of a layer's files has the same ID as the original.
//
// A store in memory, or over a layer that is not Identified, has a new ID after each Start. An ID can exceed 2^53:
// send it as a string to JSON readers that parse numbers as floats.
func (l *Layered) ID() uint64 {
	if r := l.run.Load(); r != nil {
		return r.identity
	}
	return 0
}

// Active reports whether the store is started.
func (l *Layered) Active() bool { return l.run.Load() != nil }
