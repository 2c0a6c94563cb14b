// Package bbolt is a persistent layer in one file, a bbolt database: a B+tree with one writer. It is an example of an
// engine over an existing database, explained in docs/writing-an-engine.md, and passes storagetest.
//
// Each commit is synced. A failure that bbolt cannot roll back ends the writing: see enginekit.Life.
package bbolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// Options configures a layer. The zero value is ready to use.
type Options struct {
	// ReadOnly opens an existing file read-only: it is not changed, and writes return storage.ErrReadOnly.
	ReadOnly bool
	// Logger receives errors that no caller receives; nil logs nothing.
	Logger *slog.Logger
}

// Layer is a persistent layer in a file. It adds what enginekit.Layer does not implement.
type Layer struct {
	*layer
	life *enginekit.Life[*database]
}

type layer = enginekit.Layer[*database]

var (
	_ storage.Identified       = (*Layer)(nil)
	_ storage.IncompleteMarker = (*Layer)(nil)
)

// Engine opens stores by URLs of the form bbolt:FILE. Pass it to oolith.Open.
var Engine = engine.New("bbolt", "FILE", []engine.Option[Options]{
	engine.Switch("readonly", func(o *Options, on bool) { o.ReadOnly = on }),
}, func(location string, options Options) storage.EmbeddedLayer { return New(location, options) })

// New returns a layer for a file. It touches nothing; Start creates the file if it is missing.
func New(file string, options Options) *Layer {
	l, life := enginekit.New(enginekit.Config[*database]{
		Name: "bbolt", Place: file, What: "the file", ReadOnly: options.ReadOnly, MaxData: 256 << 20, Logger: options.Logger,
		Open: func(_ context.Context, o storage.LayerOptions) (*database, error) { return open(file, options, o) },
	})
	return &Layer{l, life}
}

// ID implements storage.Identified.
func (l *Layer) ID() (id uint64, err error) {
	err = l.life.Use(func(d *database) error {
		id, err = d.number(idNote)
		return l.life.Wrap("read the id", err)
	})
	return id, err
}

// MarkIncomplete implements storage.IncompleteMarker. The mark is in the database, so it has its position in the
// order of the commits.
func (l *Layer) MarkIncomplete(reason string) error {
	return l.life.Write(func(d *database) error {
		return d.update(func(tx *bolt.Tx) error {
			if reason == "" {
				return tx.Bucket(notes).Delete(incompleteNote)
			}
			return tx.Bucket(notes).Put(incompleteNote, []byte(reason))
		})
	})
}

// The buckets of the file, and the keys of the notes.
var (
	objects, notes = []byte("objects"), []byte("oolith")

	formatNote     = []byte("format") // 8 bytes, big-endian, like all numbers
	revisionNote   = []byte("revision")
	idNote         = []byte("id")
	incompleteNote = []byte("incomplete") // a reason; absent if the content is complete
)

// space has the keys of the objects in the order of a scan.
var space = enginekit.NewSpace([]byte("o"))

// database is an open file.
type database struct {
	db *bolt.DB
	// writing is held by a commit, and for reading while a scan begins: no scan begins between the end of the
	// existing scans, see scan, and the end of the commit.
	writing sync.RWMutex
	scans   enginekit.Scans[*scan]
}

// view reads in a transaction, during which no code of a caller runs.
func (d *database) view(do func(*bolt.Tx) error) error {
	return guarded(func() error { return d.db.View(do) })
}

// guarded converts panics and memory faults to errors. On damage bbolt panics, because its pages have no checksums.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is corrupt; restore it from a backup: bbolt panics: %v", p)
		}
	}()
	return do()
}

// update changes the file, and returns once the change is on disk.
//
// bbolt maps the file into memory. Before it maps more of it, it waits for all transactions that read. The transaction
// of a scan stays open during the caller's loop, which may itself wait for this change. The scans are therefore first
// read to their end.
func (d *database) update(do func(*bolt.Tx) error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.scans.End((*scan).readAhead)
	return guarded(func() error { return d.db.Update(do) })
}

// Get implements enginekit.Database.
func (d *database) Get(path string) (obj meta.Object, err error) {
	err = d.view(func(tx *bolt.Tx) (err error) {
		value := tx.Bucket(objects).Get(space.Append(nil, path))
		if value == nil {
			return storage.ErrNotFound
		}
		obj, err = enginekit.Decode(path, value) // copies the value, which is valid only within the transaction
		return err
	})
	return obj, err
}

// Keys implements enginekit.Database.
func (d *database) Keys() (paths []string, err error) {
	err = d.view(func(tx *bolt.Tx) error {
		return tx.Bucket(objects).ForEach(func(key, _ []byte) error {
			path, _, err := space.Path(key, nil)
			paths = append(paths, path)
			return err
		})
	})
	return paths, err
}

// Commit implements enginekit.Database.
func (d *database) Commit(changes []storage.Change, revision uint64) error {
	return d.update(func(tx *bolt.Tx) error {
		for _, c := range changes {
			if err := apply(tx, c); err != nil {
				return err
			}
		}
		if revision <= number(tx, revisionNote) {
			return nil
		}
		return putNumber(tx, revisionNote, revision)
	})
}

func apply(tx *bolt.Tx, c storage.Change) error {
	switch {
	case c.Clear:
		if err := tx.DeleteBucket(objects); err != nil {
			return err
		}
		_, err := tx.CreateBucket(objects)
		return err
	case c.Object == nil:
		return tx.Bucket(objects).Delete(space.Append(nil, c.Key))
	}
	return tx.Bucket(objects).Put(space.Append(nil, c.Key), enginekit.AppendObject(nil, c.Key, c.Object))
}

// LastRevision implements enginekit.Database.
func (d *database) LastRevision() (uint64, error) { return d.number(revisionNote) }

// number returns a stored number, or 0 if there is none.
func (d *database) number(note []byte) (n uint64, err error) {
	err = d.view(func(tx *bolt.Tx) error {
		n = number(tx, note)
		return nil
	})
	return n, err
}

func number(tx *bolt.Tx, note []byte) uint64 {
	value := tx.Bucket(notes).Get(note)
	if len(value) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

func putNumber(tx *bolt.Tx, note []byte, n uint64) error {
	return tx.Bucket(notes).Put(note, binary.BigEndian.AppendUint64(nil, n))
}

// Close implements enginekit.Database.
func (d *database) Close() error { return d.db.Close() }

// fill creates the buckets of a new file.
func fill(tx *bolt.Tx) error {
	if _, err := tx.CreateBucket(objects); err != nil {
		return err
	}
	if _, err := tx.CreateBucket(notes); err != nil {
		return err
	}
	if err := putNumber(tx, formatNote, formatVersion); err != nil {
		return err
	}
	return putNumber(tx, idNote, rand.Uint64()|1)
}
