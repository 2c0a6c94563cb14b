// Package storage implements an embeddable, real-time JSON store. Reads come from memory, writes go through a
// persistent layer before they return, and every change is an event.
//
// One commit pipeline gives each change a revision, its position in the commit order. The persistent layer, readers,
// watchers and subscriptions see the same order.
//
// # Which call for what
//
// A [Layered] is a store: [New] creates it from layers, [Layered.Start] opens it, [Layered.Close] closes it. Objects
// have paths such as "devices/7/state". In a pattern, "*" matches a segment or a part of one, and a final "**"
// matches everything below.
//
//	to                                   call
//	store an object                      Set
//	store it under a new, ordered name   Push
//	store it on a condition, or with     SetWith
//	  a time to live, or under a lease
//	change part of it                    Update
//	change several objects atomically    Commit, with a Batch
//	extend or end its life               Touch
//	delete an object, or a pattern       Del, DelWith
//	delete everything                    Truncate
//
//	read an object                       Get
//	list by creation time                GetList, GetN, GetNRange
//	list in pages, or lazily             Page, Iterate
//	count, browse directories            Count, Directories
//	read everything at one revision      Snapshot
//
//	receive the state and then every     Subscribe
//	  change, with resumption
//	run a callback for each change       Watch
//	receive changes on channels          WatchSharded
//
//	lock a path in this process          Lock, TryLock
//	lock it with an end and a token      Acquire
//
//	inspect a store                      Stats, Revision, ID
//	limit lists by length or age         Options.Retention
//
// Errors match sentinels such as [ErrNotFound] and [ErrConflict] with errors.Is. They name the call and the path.
// Unless a docstring says otherwise, methods may be called concurrently, and returned data is shared and read-only.
//
// # Layers
//
// [MemoryLayer] is the memory of a store. A persistent layer implements [EmbeddedLayer], and optional interfaces from
// [Batcher] to [SharedLayer] for more capabilities. The packages in engine are such layers. Package storagetest has
// the conformance suite that every layer must pass.
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

// Database is the interface of a store. *Layered implements it.
//
// Package key defines paths and globs. All methods may be called concurrently. Before Start and after Close, methods
// that return an error return ErrNotActive and the others do nothing.
type Database interface {
	// Active reports whether the store is started.
	Active() bool
	// Start opens the layers and loads the persistent one into memory. It returns ErrActive if the store is already
	// started.
	Start(Options) error
	// Close closes the store. Writes in progress finish, watchers receive committed changes, calls that wait for a
	// lock return ErrNotActive, and the layers are closed. Close may be called at any time, several times and
	// concurrently. Start may follow.
	Close()
	// Keys returns all paths in byte order.
	Keys() ([]string, error)
	// KeysRange returns the paths that match a glob and were created between from and to (Unix nanoseconds, both
	// inclusive), ascending by Created, ties by path.
	KeysRange(path string, from, to int64) ([]string, error)
	// Get returns the object at a path, or ErrNotFound.
	Get(key string) (meta.Object, error)
	// GetAndLock waits for the lock of a path, locks it and returns its object. If there is no object it returns
	// ErrNotFound and does not lock the path.
	GetAndLock(key string) (meta.Object, error)
	// GetList returns the objects that match a glob, ascending by Created, ties by Path.
	GetList(path string) ([]meta.Object, error)
	// GetListDescending returns the exact reverse of GetList.
	GetListDescending(path string) ([]meta.Object, error)
	// GetN returns the newest limit objects that match a glob, newest first. A limit of 0 means all; a negative limit
	// fails with ErrInvalidLimit.
	GetN(path string, limit int) ([]meta.Object, error)
	// GetNAscending returns the oldest limit objects, oldest first. The limit is as in GetN.
	GetNAscending(path string, limit int) ([]meta.Object, error)
	// GetNRange returns the newest limit objects created between from and to (Unix nanoseconds, both inclusive),
	// newest first. The limit must be positive.
	GetNRange(path string, limit int, from, to int64) ([]meta.Object, error)
	// Set stores data, one JSON value, at a path and returns its index.
	Set(key string, data json.RawMessage) (string, error)
	// Push stores data under a new, unique index, which replaces the final '*' of the pattern, and returns that
	// index.
	Push(path string, data json.RawMessage) (string, error)
	// SetWithMeta stores data with both times as given and returns its index.
	SetWithMeta(key string, data json.RawMessage, created, updated int64) (string, error)
	// SetAndUnlock stores data at a locked path and releases the lock, even if the write fails. It returns
	// ErrLockNotFound if the path is not locked.
	SetAndUnlock(key string, data json.RawMessage) (string, error)
	// Unlock releases the lock of a path. It returns ErrLockNotFound if the path is not locked.
	Unlock(key string) error
	// Del deletes the object at a path, or atomically all objects that match a glob. It returns ErrNotFound if there
	// is no object at the path. A glob without matches is not an error.
	Del(key string) error
	// DelSilent is Del without an event and without the AfterWrite hook.
	DelSilent(key string) error
	// Clear deletes everything.
	Clear()
	// WatchSharded returns the event channels of the store; see ShardedChan.
	WatchSharded() *ShardedChan
}

// Options configure a store. The zero value is ready to use.
type Options struct {
	// NoBroadcastKeys are paths and patterns whose changes publish no event. An invalid one fails Start with
	// ErrInvalidPath.
	NoBroadcastKeys []string
	// BeforeRead runs once before each read call, on the caller's goroutine and without a lock. It receives the path
	// or the pattern of the call ("" for Keys).
	BeforeRead func(key string)
	// AfterWrite runs after each successful Set, Push, SetWithMeta, SetAndUnlock and Del, on the caller's goroutine
	// and without a lock, so it may call the store. It receives the written path, or the pattern of a glob delete. A
	// panic in it reaches the caller and does not affect the store.
	AfterWrite func(key string)
	// AfterOperation is AfterWrite with the operation, OperationSet or OperationDel. If both are set it runs second.
	// Both run after the event was published, since a commit never waits for a caller's code. To have a derived
	// object in place when the event arrives, write it in the same commit: see Batch.
	AfterOperation func(key, operation string)
	// Workers is the number of shards of WatchSharded; 6 if zero or less.
	Workers int
	// Retention limits lists by length and age.
	Retention []Retention
	// MaxStaleness is for a store over a SharedLayer and has no effect in any other store. Reads fail with ErrStale
	// if the store has not confirmed for longer than this that it holds all commits. A healthy store confirms it
	// twice a second. 0 disables the check. Subscriptions and watches are not affected.
	MaxStaleness time.Duration
	// History is the number of recent changes kept for subscriptions that resume, starting with the first
	// subscription; 65,536 if zero or less. At most 64 MiB of data is kept.
	History int
	// Logger receives what no return value can carry: a watcher's panic, a failed Clear, a commit that stopped all
	// writes. slog.Default() if nil.
	Logger *slog.Logger
}

// defaultWorkers is the shard count if Options.Workers is not set.
const defaultWorkers = 6

// replacedBy returns o with the non-zero fields of newer.
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

// check validates options. Rules of Retention also depend on the layers (checkRetention).
func (o Options) check() error {
	for _, pattern := range o.NoBroadcastKeys {
		if err := key.Check(pattern); err != nil {
			return fmt.Errorf("%s, %w, %w", named("no broadcast key", pattern), ErrInvalidPath, err)
		}
	}
	if o.MaxStaleness < 0 {
		return fmt.Errorf("%w, MaxStaleness is %v, expected 0 or more", ErrInvalidOptions, o.MaxStaleness)
	}
	return nil
}

// withDefaults fills in defaults and copies what the caller could change later.
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
