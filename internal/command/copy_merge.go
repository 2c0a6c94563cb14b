package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file merges into a target that may hold objects, through a started store, which gives
// the objects new revisions.

// merge puts the objects of the source into the target and returns a checksum of them, with
// no revisions.
func (c *copier) merge(ctx context.Context) (digest, error) {
	store, err := c.openMerge()
	if err != nil {
		return digest{}, notOpened(c.to, err)
	}
	defer store.Close()
	if c.ifExists == failOnExisting {
		if err := c.mustNotMeet(ctx, store); err != nil {
			return digest{}, fmt.Errorf("store %s: %w", c.to, err)
		}
	}
	c.base = store.Revision()
	if err := c.mark(); err != nil {
		return digest{}, fmt.Errorf("store %s: %w", c.to, err)
	}
	err = c.put(ctx, store, func(job) {})
	var sum digest
	if err == nil {
		sum, err = c.compare(ctx, store)
	}
	if err == nil {
		err = c.unmark()
	}
	if err != nil {
		return digest{}, c.stopped(err)
	}
	return sum, nil
}

// openMerge starts a store over the target, which may be what the same merge left when it
// was cut off.
func (c *copier) openMerge() (*storage.Layered, error) {
	start := func(options storage.LayerOptions) (*storage.Layered, error) {
		store := storage.New(storage.LayeredConfig{Embedded: c.target, EmbeddedOptions: options})
		return store, store.Start(storage.Options{Logger: slog.New(slog.DiscardHandler)})
	}
	store, err := start(storage.LayerOptions{})
	if isIncompleteBy(err, c.arguments()) {
		store, err = start(storage.LayerOptions{AllowIncomplete: true})
	}
	return store, err
}

// mustNotMeet refuses a merge, before it changes anything, where the target holds another object at a path of the
// source. The same object is what the same merge left that was cut off, or nothing would change.
func (c *copier) mustNotMeet(ctx context.Context, store opened) error {
	for obj, err := range c.objects(ctx) {
		if err != nil {
			return err
		}
		there, err := store.Get(obj.Path)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if !sameContent(&there, &obj) {
			return fmt.Errorf("another object exists at %q, and with --if-exists fail nothing is merged", obj.Path)
		}
	}
	return nil
}

// put writes all objects of the source that have not expired, and calls a function for each that is stored, one after the other.
func (c *copier) put(ctx context.Context, store opened, stored func(job)) error {
	progress := c.progress("merged", c.source.hint())
	defer progress.stop()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var broken error
	stores := &committer{store: store, ifExists: c.ifExists}
	if c.ifExists == failOnExisting {
		stores.ifExists = replaceExisting // mustNotMeet has looked
	}
	stores.done = func(j job, err error) {
		switch {
		case err == nil:
			stored(j)
			c.done.Add(1)
		case errors.Is(err, errNotTried):
		case errors.Is(err, errExpired):
			c.expired.Add(1)
		case errors.Is(err, errSkipped):
			c.skipped.Add(1)
		default:
			broken = fmt.Errorf("store %s: %w", c.to, err)
			stores.stop()
			fail(broken)
		}
	}
	w := startWriter(stores.commit)
	var err error
	for obj, scanErr := range c.objects(ctx) {
		if err = scanErr; err != nil {
			break
		}
		w.add(job{path: obj.Path, data: obj.Data, expires: obj.Expires,
			times: &storage.Times{Created: obj.Created, Updated: obj.Updated}})
	}
	w.wait()
	if broken != nil {
		return broken
	}
	return err
}

// compare reads each object of the source back from the target.
func (c *copier) compare(ctx context.Context, store opened) (digest, error) {
	progress := c.progress("compared", c.done.Load())
	defer progress.stop()
	var sum digest
	for obj, err := range c.objects(ctx) {
		if err != nil {
			return sum, err
		}
		got, err := store.Get(obj.Path)
		if obj.Expired(time.Now().UnixNano()) {
			continue // before it was written, or since
		}
		if err != nil {
			return sum, fmt.Errorf("store %s: read back: %w", c.to, err)
		}
		if c.ifExists == skipExisting && got.Revision <= c.base {
			continue // it was there before
		}
		if !sameContent(&got, &obj) {
			return sum, fmt.Errorf("store %s: read back: the object at %q differs from the source", c.to, obj.Path)
		}
		obj.Revision = 0
		sum.add(&obj)
		c.done.Add(1)
	}
	return sum, nil
}

// sameContent compares all but revisions.
func sameContent(a, b *meta.Object) bool {
	return a.Path == b.Path && a.Created == b.Created && a.Updated == b.Updated && a.Expires == b.Expires && bytes.Equal(a.Data, b.Data)
}
