package storage

import (
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// Start opens the layers and, unless memory is a cache, loads the persistent layer into memory. An entry that cannot
// be decoded fails the Start with the entry's key; no entry is skipped. If nothing is loaded, in cache mode or
// without memory, the calls that read such an entry fail instead.
//
// Objects that are loaded without a revision, such as those of other software, get revisions in order of (Created,
// Path), after all existing revisions. A layer with batches stores them: such a start rewrites these objects once.
// Other layers do not, so the objects get new revisions at the next start. The same happens if storing them fails,
// which is logged. If nothing is loaded, such objects have a revision derived from their times, path and data until
// they are written. After an error no resources are held, and Start may be called again.
func (l *Layered) Start(opt Options) error {
	l.life.Lock()
	defer l.life.Unlock()
	if l.Active() {
		return fmt.Errorf("start: %w", ErrActive)
	}
	l.hooks.Lock()
	options := l.options.replacedBy(opt)
	l.hooks.Unlock()
	r, err := l.open(options.withDefaults())
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	l.hooks.Lock()
	defer l.hooks.Unlock()
	if opt.BeforeRead == nil {
		options.BeforeRead = l.options.BeforeRead // SetBeforeRead may have set it while the layers were opened
	}
	r.setBeforeRead(options.BeforeRead)
	l.run.Store(r)
	return nil
}

func (l *Layered) open(options Options) (*run, error) {
	layer := l.cfg.Embedded
	if layer == nil {
		layer = l.cfg.Persistent
	} else if l.cfg.Persistent != nil {
		return nil, ErrTwoPersistentLayers
	}
	if layer == nil && l.cfg.Memory == nil {
		return nil, ErrAllLayersNil
	}
	if err := options.check(); err != nil {
		return nil, err
	}
	r := &run{options: options, layer: layer, readOnly: readOnly(layer), timing: timing{born: time.Now()}, locks: new(lockTable), readGate: new(readGate)}
	r.view = layerView{r: r} // unless there is a memory layer
	r.feed.init(options.History, l.resumable(layer), options.Logger)
	r.expirer.logger = options.Logger
	r.expirer.remove = r.removeExpired
	if err := l.openLayers(r); err != nil {
		r.expirer.close()
		return nil, err
	}
	if !r.readOnly {
		r.expirer.start()
	}
	return r, nil
}

// openLayers starts the layers and fills memory. On error it leaves all of them closed.
func (l *Layered) openLayers(r *run) (err error) {
	defer panicAsError(&err)
	opened := false // also stays false if a layer panics
	if memory := l.cfg.Memory; memory != nil {
		if err := memory.Start(l.cfg.MemoryOptions); err != nil {
			return fmt.Errorf("memory layer: %w", err)
		}
		defer func() {
			if !opened {
				memory.Close()
			}
		}()
		if r.layer != nil && l.cfg.MemoryOptions.SkipLoadMemory {
			cache, err := newCache(l.cfg.MemoryOptions.CacheBytes)
			if err != nil {
				return err
			}
			r.view = layerView{r, cache}
		} else {
			r.memory = memory.tree.Load()
			r.view = memoryView{r}
		}
	}
	r.identity = rand.Uint64() | 1
	if r.layer == nil {
		r.pipeline.begin(l.revision)
		r.id = r.identity
		r.inPlace = len(r.options.Retention) == 0
		err = r.checkRetention()
		opened = err == nil
		return err
	}
	if err := r.layer.Start(l.cfg.EmbeddedOptions); err != nil {
		return fmt.Errorf("persistent layer: %w", err)
	}
	defer func() {
		if !opened {
			r.layer.Close()
		}
	}()
	if s, ok := As[Skipper](r.layer); ok {
		if keys, count := s.Skipped(); count > 0 {
			r.skips = true
			r.options.Logger.Warn("oolith: the persistent layer leaves out entries, as it was told to",
				slog.Int("count", count), slog.Any("keys", keys))
		}
	}
	if identified, ok := As[Identified](r.layer); ok {
		if r.id, err = identified.ID(); err != nil {
			return fmt.Errorf("persistent layer: the id, %w", err)
		}
		r.identity = r.id
	}
	if r.shared, _ = As[SharedLayer](r.layer); r.shared == nil {
		r.batch, _ = As[Batcher](r.layer)
	}
	if err := r.checkRetention(); err != nil {
		return err
	}
	if r.shared != nil {
		if err := r.openMirror(); err != nil {
			return err
		}
		defer func() {
			if !opened {
				r.mirror.close()
			}
		}()
		if !r.readOnly {
			if err := r.enforce(); err != nil {
				return err
			}
		}
		opened = true
		return nil
	}
	if r.memory != nil {
		// If readers see the layer itself, a group has to be durable before the next one changes what they see.
		r.async, _ = As[AsyncBatcher](r.layer)
	}
	last, err := r.lastRevision()
	if err != nil {
		return fmt.Errorf("last revision: %w", err)
	}
	if last = max(last, l.revision); r.memory != nil {
		if last, err = r.load(last); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	r.pipeline.begin(last)
	if !r.readOnly {
		if err := r.enforce(); err != nil {
			return err
		}
	}
	if r.memory == nil {
		r.startSearch()
	}
	opened = true
	return nil
}

// load fills memory and returns the last revision, which is at least the given one.
func (r *run) load(last uint64) (uint64, error) {
	hint := 0
	if h, ok := As[SizeHinter](r.layer); ok {
		hint = h.SizeHint()
	}
	loaded, numbered, err := r.memory.Load(r.loading(unchecked(r.layer, "")), hint, func(loaded uint64) uint64 {
		return max(loaded, last, revisionOfNow())
	})
	if err != nil {
		return 0, err
	}
	r.keepRevisions(numbered)
	return max(last, loaded), nil
}

// loading validates loaded objects and records when they expire, in one pass, since there may be millions.
func (r *run) loading(objects iter.Seq2[meta.Object, error]) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		for obj, err := range objects {
			if err == nil {
				obj, err = checked(obj, obj.Path)
			}
			if err == nil {
				own := obj.Expires
				if obj.Expires = r.expiryOf(&obj); obj.Expires != 0 {
					r.expiring.Store(true)
					r.expirer.add(obj.Path, obj.Expires, own)
				}
			}
			if !yield(obj, err) {
				return
			}
		}
	}
}

// Close closes the store. It lets writes in progress finish. Later calls return ErrNotActive, and so do calls that
// wait for a lock. Close delivers committed changes to watchers and to the channels of WatchSharded, for at most 5
// seconds in total. It stops delivering to a consumer that takes no event for one to two seconds. Then it closes the
// layers.
//
// Close may be called several times and concurrently, and also from a hook or a watcher's callback. Every call
// returns once the store is closed. Inside a callback it waits for the delivery timeout, because the callback takes
// no events in the meantime.
//
// Close returns no error. A panic in a layer's Close goes to Options.Logger.
func (l *Layered) Close() {
	if r, err := l.close(); err != nil {
		r.options.Logger.Error("oolith: the persistent layer did not close", slog.Any("error", err))
	}
}

func (l *Layered) close() (r *run, err error) {
	l.life.Lock()
	defer l.life.Unlock()
	if r = l.run.Swap(nil); r == nil {
		return nil, nil
	}
	r.locks.close()
	if r.mirror != nil {
		defer time.AfterFunc(closePatience, r.mirror.cancel).Stop() // for callers that wait for an unavailable engine
	}
	r.pipeline.close()
	r.expirer.close()
	if r.mirror != nil {
		r.mirror.close()
	}
	l.revision = r.pipeline.revision.Load()
	r.closeConsumers()

	// Wait for reads of the layer.
	r.calls.Lock()
	r.closed = true
	r.calls.Unlock()
	if l.cfg.Memory != nil {
		defer l.cfg.Memory.Close() // even if the layer panics
	}
	if r.layer != nil {
		defer panicAsError(&err)
		r.layer.Close()
	}
	return r, nil
}

// closeConsumers closes all consumers of events concurrently.
func (r *run) closeConsumers() {
	var consumers sync.WaitGroup
	consumers.Go(func() { r.feed.close(r) })
	// A caller that watches too late gets closed channels.
	r.shardedOnce.Do(func() { r.sharded.Store(NewShardedChan(r.options.Workers)) })
	consumers.Go(r.sharded.Load().Close)
	consumers.Wait()
}
