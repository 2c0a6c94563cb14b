package command

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// scanner is an open store that is read completely, in bounded memory. Like every read it never returns expired
// objects.
type scanner interface {
	// scan yields the objects that match a pattern, or all objects for an empty one.
	scan(pattern string) iter.Seq2[meta.Object, error]
	// get returns one object, or storage.ErrNotFound.
	get(path string) (meta.Object, error)
	// revision is the revision of the latest change, or of the latest object if nothing more is known.
	revision() (uint64, error)
	// hint is the approximate number of objects; -1 if unknown.
	hint() int64
	close()
}

// openScanner opens an existing store for reading everything that matches a pattern.
func (a *app) openScanner(ctx context.Context) (scanner, error) {
	if isServer(a.storeURL) {
		c, err := a.connect(a.storeURL)
		return pages{c, ctx}, err
	}
	layer, err := a.layer(reads)
	if err != nil {
		return nil, err
	}
	if layer != nil {
		if err := layer.Start(storage.LayerOptions{}); err != nil {
			return nil, notOpened(a.storeURL, err)
		}
		a.tellSkipped(a.storeURL, layer)
	}
	return files{layer: layer}, nil
}

// files is a store on this machine. A scan is one consistent snapshot, directory by directory.
type files struct {
	layer storage.EmbeddedLayer // nil if there is no persistent layer
	// expired means that a scan also yields expired objects.
	expired bool
}

func (s files) scan(pattern string) iter.Seq2[meta.Object, error] {
	if s.layer == nil {
		return func(func(meta.Object, error) bool) {} // memory: is empty when it is opened
	}
	return func(yield func(meta.Object, error) bool) {
		for obj, err := range storage.Scan(s.layer, pattern) {
			if err == nil && !s.expired && obj.Expired(time.Now().UnixNano()) {
				continue
			}
			if !yield(obj, err) {
				return
			}
		}
	}
}

func (s files) get(path string) (meta.Object, error) {
	if s.layer == nil {
		return meta.Object{}, fmt.Errorf("get %q: %w", path, storage.ErrNotFound)
	}
	obj, err := s.layer.Get(path)
	if err == nil && obj.Expired(time.Now().UnixNano()) {
		return meta.Object{}, fmt.Errorf("get %q: %w", path, storage.ErrNotFound)
	}
	return obj, err
}

func (s files) revision() (uint64, error) {
	// A shared layer has no batches but knows the revision too.
	knows, ok := storage.As[interface{ LastRevision() (uint64, error) }](s.layer)
	if !ok {
		return 0, nil
	}
	return knows.LastRevision()
}

func (s files) hint() int64 {
	if hinter, ok := storage.As[storage.SizeHinter](s.layer); ok {
		return int64(hinter.SizeHint())
	}
	return -1
}

func (s files) close() {
	if s.layer != nil {
		s.layer.Close()
	}
}

// pages is a store behind a server, read page by page in order of creation. An object that exists throughout is
// included once, as it was when its page was read.
type pages struct {
	client *client.Client
	ctx    context.Context
}

func (s pages) scan(pattern string) iter.Seq2[meta.Object, error] {
	if pattern == "" {
		pattern = everything
	}
	if !key.HasGlob(pattern) {
		return func(yield func(meta.Object, error) bool) {
			if obj, err := s.get(pattern); !errors.Is(err, storage.ErrNotFound) {
				yield(obj, err)
			}
		}
	}
	return s.client.Iterate(s.ctx, pattern, storage.ListOptions{})
}

func (s pages) get(path string) (meta.Object, error) { return s.client.Get(s.ctx, path) }

func (s pages) revision() (uint64, error) {
	page, err := s.client.Page(s.ctx, everything, storage.ListOptions{Limit: 1})
	return page.Revision, err
}

func (s pages) hint() int64 {
	count, err := s.client.Count(s.ctx, everything)
	if err != nil {
		return -1 // the next read reports the error
	}
	return int64(count)
}

func (pages) close() {}

// everything is the pattern of all objects.
const everything = "**"
