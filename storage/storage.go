// Package storage is the store: all objects in memory for reads, a persistent layer that every write goes through, and
// events on top.
//
// Each change passes through one commit pipeline, which gives it a revision: its place in one order. The persistent layer,
// readers, watchers and subscriptions see that order and no other.
//
// # Which call for what
//
// A store is a [Layered]: [New] makes one of layers, [Layered.Start] opens it, [Layered.Close] ends it. A path is a key such as
// "devices/7/state"; "*" in a pattern matches one segment, or a part of one, and "**" at its end everything below.
//
//	write           Set  Push  Del                    one object; Push names it by its time, Del takes patterns
//	                SetWith  DelWith  Touch           on a condition, with a time to live, bound to a lease
//	                Update                            change what is there, again if another was quicker
//	                Commit                            a Batch: several changes or none
//	read            Get                               one object, from memory without a lock
//	                GetList  GetN  GetNRange          lists by time of creation
//	                Page  Iterate  Count              parts of a list, by cursor or by rank
//	                Directories                       what is below a path
//	                Snapshot                          everything at one revision
//	follow          Subscribe                         the state, then every change, with resumption
//	                Watch                             a callback for each change
//	                WatchSharded                      channels, an event in them when its write returns
//	exclude others  Lock  TryLock                     a lock of this process
//	                Acquire                           a lease: a lock with an end and a fencing token
//	look inside     Stats  Revision  ID               figures; the last revision; the identity of the store
//	shut down       Close                             what was committed is delivered first, within bounds
//
// Errors are sentinels for errors.Is, such as [ErrNotFound] and [ErrConflict], wrapped with the call and the path.
//
// # Layers
//
// [MemoryLayer] is the memory of a store. A persistent layer implements [EmbeddedLayer], and what more it can do by the
// optional interfaces, from [Batcher] to [SharedLayer]. The engines of the module are such layers; package storagetest has the
// suite that each passes.
package storage

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Database is the whole interface of a store. *Layered implements it.
//
// Paths, globs and their errors are those of package key. All methods may be called from
// any number of goroutines. Before Start and after Close every method that returns an
// error returns ErrNotActive, and the others do nothing.
type Database interface {
	// Active reports whether the store is started.
	Active() bool
	// Start opens the layers and loads the persistent one into memory. It returns
	// ErrActive when the store is started already.
	Start(Options) error
	// Close ends the store: writes in progress finish, watchers get what was committed,
	// waiters for locks wake with ErrNotActive, the layers are closed. It may be called
	// at any time, any number of times, from any goroutine; Start may follow.
	Close()
	// Keys returns all paths in byte order.
	Keys() ([]string, error)
	// KeysRange returns the paths that match a glob and were created from 'from' to 'to'
	// (Unix nanoseconds, both inclusive), ascending by creation, ties by path.
	KeysRange(path string, from, to int64) ([]string, error)
	// Get returns the object at a path, or ErrNotFound.
	Get(key string) (meta.Object, error)
	// GetAndLock locks a path and returns its object. It waits for the lock. When the
	// object is absent it returns ErrNotFound and the path is not locked.
	GetAndLock(key string) (meta.Object, error)
	// GetList returns what matches a glob, ascending by Created, ties by Path.
	GetList(path string) ([]meta.Object, error)
	// GetListDescending returns the exact reverse of GetList.
	GetListDescending(path string) ([]meta.Object, error)
	// GetN returns the newest limit objects that match a glob, newest first. A limit of 0
	// means all; a negative one is ErrInvalidLimit.
	GetN(path string, limit int) ([]meta.Object, error)
	// GetNAscending returns the oldest limit objects, oldest first, with the limits of GetN.
	GetNAscending(path string, limit int) ([]meta.Object, error)
	// GetNRange returns the newest limit objects created from 'from' to 'to' (Unix
	// nanoseconds, both inclusive), newest first. The limit must be positive.
	GetNRange(path string, limit int, from, to int64) ([]meta.Object, error)
	// Set stores data, one JSON value, at a path and returns its index.
	Set(key string, data json.RawMessage) (string, error)
	// Push stores data under a new, unique index in place of the pattern's last '*' and
	// returns that index.
	Push(path string, data json.RawMessage) (string, error)
	// SetWithMeta stores data with both times as given and returns its index.
	SetWithMeta(key string, data json.RawMessage, created, updated int64) (string, error)
	// SetAndUnlock stores data at a locked path and releases the lock, also when the
	// write fails. It returns ErrLockNotFound when the path is not locked.
	SetAndUnlock(key string, data json.RawMessage) (string, error)
	// Unlock releases the lock of a path, or returns ErrLockNotFound.
	Unlock(key string) error
	// Del removes the object at a path (ErrNotFound when there is none), or, atomically,
	// all that match a glob (no error when there is none).
	Del(key string) error
	// DelSilent is Del without event and hook.
	DelSilent(key string) error
	// Clear removes everything.
	Clear()
	// WatchSharded returns the store's event channels; see ShardedChan.
	WatchSharded() *ShardedChan
}

// Options of a store. The zero value is ready to use.
type Options struct {
	// NoBroadcastKeys are paths and patterns whose changes publish no event. An invalid one is
	// ErrInvalidPath at Start.
	NoBroadcastKeys []string
	// BeforeRead runs once for each read call, before it, on the caller's goroutine,
	// holding no lock, with the path or pattern of the call ("" for Keys).
	BeforeRead func(key string)
	// AfterWrite runs after each successful Set, Push, SetWithMeta, SetAndUnlock and Del,
	// on the caller's goroutine, holding no lock: it may call the store. It gets the path
	// written, or the pattern of a glob delete. A panic in it reaches the caller and
	// leaves the store usable.
	AfterWrite func(key string)
	// AfterOperation is AfterWrite that is told the operation too, OperationSet or OperationDel; where both are
	// set it runs second. Like AfterWrite it runs behind the event: the commit waits for no code of a caller.
	// What must be there when the event comes belongs into the same commit: see Batch.
	AfterOperation func(key, operation string)
	// Workers is the number of shards of WatchSharded; 6 when zero or less.
	Workers int
	// Retention bounds lists by count and by age.
	Retention []Retention
	// MaxStaleness lets reads of a store over a SharedLayer fail with ErrStale once it has not heard for longer than this
	// that it holds all that was committed. A healthy store hears it twice a second. 0 is for any age; subscriptions and
	// watches are not affected. In any other store it has no meaning.
	MaxStaleness time.Duration
	// History is how many of the newest changes are kept for subscriptions that resume, once there
	// was one; 65,536 when zero or less. 64 MiB of data bound it too.
	History int
	// Logger gets what no return value can carry: a watcher's panic, a Clear that
	// failed, a commit that stopped all writes. slog.Default() when nil.
	Logger *slog.Logger
}

// defaultWorkers is the shard count when Options.Workers asks for none.
const defaultWorkers = 6

// replacedBy returns o with the non-zero fields of newer in place of its own.
func (o Options) replacedBy(newer Options) Options {
	if newer.NoBroadcastKeys != nil {
		o.NoBroadcastKeys = newer.NoBroadcastKeys
	}
	if newer.BeforeRead != nil {
		o.BeforeRead = newer.BeforeRead
	}
	if newer.AfterWrite != nil {
		o.AfterWrite = newer.AfterWrite
	}
	if newer.AfterOperation != nil {
		o.AfterOperation = newer.AfterOperation
	}
	if newer.Workers != 0 {
		o.Workers = newer.Workers
	}
	if newer.Retention != nil {
		o.Retention = newer.Retention
	}
	if newer.MaxStaleness != 0 {
		o.MaxStaleness = newer.MaxStaleness
	}
	if newer.History != 0 {
		o.History = newer.History
	}
	if newer.Logger != nil {
		o.Logger = newer.Logger
	}
	return o
}

// check accepts options that a store can keep. Those of a Retention depend on the layers (checkRetention).
func (o Options) check() error {
	for _, pattern := range o.NoBroadcastKeys {
		if err := key.Check(pattern); err != nil {
			return failed("no broadcast key", pattern, fmt.Errorf("%w: %w", ErrInvalidPath, err))
		}
	}
	if o.MaxStaleness < 0 {
		return fmt.Errorf("%w: MaxStaleness is %v, expected 0 or more", ErrInvalidOptions, o.MaxStaleness)
	}
	return nil
}

// withDefaults fills in what was left open, and makes the store's own what the caller may change later.
func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = defaultWorkers
	}
	if o.History <= 0 {
		o.History = defaultHistory
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.NoBroadcastKeys, o.Retention = slices.Clone(o.NoBroadcastKeys), slices.Clone(o.Retention)
	return o
}
