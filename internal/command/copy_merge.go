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

// Merging into a target that may hold objects, through a started store, which assigns new revisions.

// merge stores the objects of the source in the target and returns their checksum, without revisions.
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

// openMerge starts a store over the target, which may be left by the same interrupted merge.
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

// mustNotMeet rejects a merge before it changes anything if the target has a different object at a path of the
// source. An identical object was left by the same interrupted merge, or would not change.
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

// put writes all unexpired objects of the source, and calls stored for each of them, sequentially.
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
			continue // from before the merge, or written since
		}
		if err != nil {
			return sum, fmt.Errorf("store %s: read back: %w", c.to, err)
		}
		if c.ifExists == skipExisting && got.Revision <= c.base {
			continue // it existed before
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

// sameContent compares everything except revisions.
func sameContent(a, b *meta.Object) bool {
	return a.Path == b.Path && a.Created == b.Created && a.Updated == b.Updated && a.Expires == b.Expires && bytes.Equal(a.Data, b.Data)
}
