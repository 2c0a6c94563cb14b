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

// Start opens the layers and, unless memory is a cache, loads the persistent one into
// memory. An entry that cannot be read makes it fail with the entry's key: nothing is
// skipped. Where nothing is loaded, in a cache or without memory, such an entry is an error of the
// calls that meet it.
//
// What is loaded without a revision, such as by software that knows none, gets one, in the order of
// (Created, Path), behind all that are in use. A layer with batches keeps it: once, such a start writes these objects
// anew. In another one, and where that fails, which is logged, they get others at the next start. Where
// nothing is loaded they have one made of their times, path and data, until they are written: it stays the same for as long
// as they do. After an error nothing is held open, and Start may be called again.
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
	r.view = layerView{r: r} // until a memory layer says otherwise
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

// openLayers starts the layers and fills memory, or leaves all closed.
func (l *Layered) openLayers(r *run) (err error) {
	defer panicAsError(&err)
	opened := false // stays so when a layer panics, too
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
			return fmt.Errorf("persistent layer: id: %w", err)
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
		// Where readers see the layer itself, a group is to be durable before the next
		// one changes what they see.
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

// load fills memory and returns the last revision, which is at least a given one.
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

// loading checks loaded objects, notes when they expire, and passes them on: in one step, as there may be
// millions.
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

// Close ends the store. Writes in progress finish; later calls get ErrNotActive, and so do those
// who wait for a lock. Watchers and the channels of WatchSharded get what was
// committed: for at most 5 seconds in all, and until a consumer has taken no event for one to two
// seconds. Then the layers are closed.
//
// Close may be called any number of times and from any goroutine, in a hook and in a watcher's callback
// too; every call returns when the store is closed. Within a callback it waits those
// out, as the callback takes no events meanwhile.
//
// It cannot return an error: a panic of a layer in its Close goes to Options.Logger.
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
		defer time.AfterFunc(closePatience, r.mirror.cancel).Stop() // who waits for an engine that is gone
	}
	r.pipeline.close()
	r.expirer.close()
	if r.mirror != nil {
		r.mirror.close()
	}
	l.revision = r.pipeline.revision.Load()
	r.closeConsumers()

	// Reads of the layer that are under way finish first.
	r.calls.Lock()
	r.closed = true
	r.calls.Unlock()
	if l.cfg.Memory != nil {
		defer l.cfg.Memory.Close() // when the layer panics, too
	}
	if r.layer != nil {
		defer panicAsError(&err)
		r.layer.Close()
	}
	return r, nil
}

// closeConsumers ends all that consumes events, side by side.
func (r *run) closeConsumers() {
	var consumers sync.WaitGroup
	consumers.Go(func() { r.feed.close(r) })
	// Whoever comes too late to watch gets closed channels.
	r.shardedOnce.Do(func() { r.sharded.Store(NewShardedChan(r.options.Workers)) })
	consumers.Go(r.sharded.Load().Close)
	consumers.Wait()
}
