package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Copying into a new target, from layer to layer without a store in between, so objects keep their revisions. A
// shared engine orders changes itself and assigns new ones.

// The limits of one batch.
const (
	copyObjects = 1000
	copyBytes   = 8 << 20
	// copyOverhead is the approximate overhead of an object in an engine, besides its path and data.
	copyOverhead = 200
)

// fill makes the target a copy of the source and returns its checksum.
func (c *copier) fill(ctx context.Context) (digest, error) {
	if err := c.openFresh(); err != nil {
		return digest{}, notOpened(c.to, err)
	}
	defer c.target.Close()
	if err := c.mark(); err != nil {
		return digest{}, fmt.Errorf("store %s: %w", c.to, err)
	}
	sent, last, err := c.write(ctx)
	if err == nil {
		err = c.verify(ctx, sent, last)
	}
	if err == nil {
		err = c.unmark()
	}
	if err != nil {
		return digest{}, c.stopped(err)
	}
	return sent, nil
}

// openFresh starts the target, which must be empty or left by an interrupted copy.
func (c *copier) openFresh() error {
	err := c.target.Start(storage.LayerOptions{})
	if isIncompleteBy(err, copyFrom) {
		return c.target.Start(storage.LayerOptions{AllowIncomplete: true}) // write clears it
	}
	if err != nil {
		return err
	}
	if err := c.mustBeFresh(); err != nil {
		c.target.Close()
		return err
	}
	return nil
}

// mustBeFresh rejects a target that holds objects or was used before.
func (c *copier) mustBeFresh() error {
	for obj, err := range storage.Scan(c.target, "") {
		if err != nil {
			return err
		}
		return fmt.Errorf("it holds objects, such as %q, expected a new or empty store; --into merges into it", obj.Path)
	}
	batcher, ok := storage.As[storage.Batcher](c.target)
	if !ok {
		return nil
	}
	last, err := batcher.LastRevision()
	if err != nil {
		return err
	}
	if last > 0 {
		// Revisions are never reused, and those of the source may be lower.
		return fmt.Errorf("it is empty but was used up to revision %d, expected a new store; --into assigns new revisions", last)
	}
	return nil
}

// write clears the target and writes all objects of the source. It returns their checksum and the last revision of
// the source.
func (c *copier) write(ctx context.Context) (sent digest, last uint64, err error) {
	progress := c.progress("copied", c.source.hint())
	defer progress.stop()
	if last, err = c.source.revision(); err != nil {
		return sent, last, fmt.Errorf("store %s: %w", c.from, err)
	}
	w := newLayerWriter(c.target)
	if err := w.clear(last); err != nil {
		return sent, last, fmt.Errorf("store %s: clear: %w", c.to, err)
	}
	for obj, err := range c.objects(ctx) {
		if err != nil {
			return sent, last, err
		}
		c.count(&sent, obj)
		last = max(last, obj.Revision)
		if err := w.put(&obj, last); err != nil {
			return sent, last, fmt.Errorf("store %s: %w", c.to, err)
		}
		c.done.Add(1)
	}
	if err := w.flush(); err != nil {
		return sent, last, fmt.Errorf("store %s: %w", c.to, err)
	}
	return sent, last, nil
}

// count adds the copied parts of an object to a checksum.
func (c *copier) count(sum *digest, obj meta.Object) {
	if _, shared := storage.As[storage.SharedLayer](c.target); shared {
		obj.Revision = 0
	}
	sum.add(&obj)
}

// layerWriter writes objects to a layer, in batches if the layer accepts them.
type layerWriter struct {
	layer   storage.EmbeddedLayer
	batcher storage.Batcher     // nil when the layer has no batches
	shared  storage.SharedLayer // nil when the layer is none
	batch   []storage.Change
	bytes   int
	most    storage.SharedLimits // of a batch
}

func newLayerWriter(layer storage.EmbeddedLayer) *layerWriter {
	w := &layerWriter{layer: layer, most: storage.SharedLimits{Changes: copyObjects, Bytes: copyBytes}}
	w.batcher, _ = storage.As[storage.Batcher](layer)
	if shared, is := storage.As[storage.SharedLayer](layer); is {
		limits := shared.Limits()
		w.shared = shared
		w.most = storage.SharedLimits{Changes: min(limits.Changes, copyObjects), Bytes: min(limits.Bytes, copyBytes)}
	}
	return w
}

// clear deletes everything and records a revision as the last one.
func (w *layerWriter) clear(last uint64) error {
	if w.batcher != nil {
		return w.batcher.Commit([]storage.Change{{Clear: true, Revision: last}})
	}
	w.layer.Clear() // it returns no error, so look at the remaining keys
	left, err := w.layer.Keys()
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d keys remain, such as %q", len(left), left[0])
	}
	return err
}

// put writes an object, at the latest with the next flush. The revision is the last one of the target so far; it
// never decreases, unlike the revisions of the objects, which are in order of path.
func (w *layerWriter) put(obj *meta.Object, revision uint64) error {
	if w.batcher == nil && w.shared == nil {
		return w.layer.Set(obj.Path, obj)
	}
	size := copyOverhead + len(obj.Path) + len(obj.Data)
	if len(w.batch) > 0 && (w.bytes+size > w.most.Bytes || len(w.batch) == w.most.Changes) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.batch = append(w.batch, storage.Change{Key: obj.Path, Object: obj, Revision: revision})
	w.bytes += size
	return nil
}

// commit writes the batch.
func (w *layerWriter) commit() error {
	if w.shared == nil {
		return w.batcher.Commit(w.batch)
	}
	t := &storage.SharedTransaction{Changes: make([]storage.SharedChange, len(w.batch))}
	for i, change := range w.batch {
		t.Changes[i] = storage.SharedChange{Key: change.Key, Object: change.Object}
	}
	_, err := w.shared.Propose(context.Background(), t)
	return err
}

// flush writes the waiting objects.
func (w *layerWriter) flush() error {
	if len(w.batch) == 0 {
		return nil
	}
	err := w.commit()
	if entry, ok := errors.AsType[*storage.EntryError](err); ok && entry.Index >= 0 && entry.Index < len(w.batch) {
		err = fmt.Errorf("path %q: %w", w.batch[entry.Index].Key, entry.Err)
	}
	clear(w.batch)
	w.batch, w.bytes = w.batch[:0], 0
	return err
}

// verify reopens the target, reads it back and compares it with the source.
func (c *copier) verify(ctx context.Context, sent digest, last uint64) error {
	c.target.Close()
	if err := c.target.Start(storage.LayerOptions{AllowIncomplete: true}); err != nil {
		return fmt.Errorf("store %s: read back: %w", c.to, err)
	}
	progress := c.progress("compared", sent.count)
	defer progress.stop()
	var got digest
	err := each(ctx, storage.Scan(c.target, ""), func(obj meta.Object) {
		c.count(&got, obj)
		c.done.Add(1)
	})
	if err != nil {
		return fmt.Errorf("store %s: read back: %w", c.to, err)
	}
	if got != sent {
		return fmt.Errorf("store %s: read back: %s with checksum %s, expected %s with %s", c.to,
			plural(got.count, "object"), got, plural(sent.count, "object"), sent)
	}
	batcher, ok := storage.As[storage.Batcher](c.target)
	if !ok {
		return nil
	}
	reached, err := batcher.LastRevision()
	if err == nil && reached < last {
		err = fmt.Errorf("the last revision is %d, expected at least %d", reached, last)
	}
	if err != nil {
		return fmt.Errorf("store %s: read back: %w", c.to, err)
	}
	return nil
}
