package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// RestoreOptions of a restore. The zero value restores into a new or empty store.
type RestoreOptions struct {
	// Replace lets the target hold objects. All of them are removed, those that the backup does not have
	// too; and whatever left the target incomplete is forgotten.
	Replace bool
	// TempDir is where a backup is kept between its two readings, when it comes from a reader that cannot
	// seek; os.TempDir() when empty.
	TempDir string
	// Progress, if not nil, is called now and then by the goroutine of Restore.
	Progress func(Progress)
}

// What a target that is being restored is marked with, up to its revision.
const reasonPrefix = "restore of a backup of revision "

// The bounds of one batch.
const (
	batchObjects = 1000
	batchBytes   = 8 << 20
)

// Restore makes a store of a backup, in a layer that is not started, such as engine.Open returns it. It
// starts the layer and leaves it closed.
//
// First the whole backup is verified: what Verify refuses is refused before anything is touched. For that
// it is read twice, from where the reader stands, if the reader is an io.Seeker; else it is kept in a temporary file meanwhile. Then
// the objects are written in batches, with their paths, times, revisions and times to live as they
// were. What has expired since is written too: the first read of the store does not show it. The
// revisions of the store go on behind the last one of the backup, and of the target.
//
// A target that holds objects, or that held some and knows of higher revisions, is ErrNotEmpty, unless
// Options.Replace is set. While the restore is under way the target is marked, durably: whatever
// ends it, the context, an error, a crash, every later Start of the target fails with storage.ErrIncomplete until it is
// restored again, to the end; the error of such a restore is storage.ErrIncomplete too. The target must be a storage.Batcher and a storage.IncompleteMarker.
func Restore(ctx context.Context, r io.Reader, target storage.EmbeddedLayer, opt RestoreOptions) (Info, error) {
	info, err := restore(ctx, r, target, opt)
	if err != nil {
		return Info{}, fmt.Errorf("backup: restore: %w", err)
	}
	return info, nil
}

func restore(ctx context.Context, in io.Reader, layer storage.EmbeddedLayer, opt RestoreOptions) (info Info, err error) {
	if err := checkContext(ctx); err != nil {
		return Info{}, err
	}
	target, err := newTarget(layer)
	if err != nil {
		return Info{}, err
	}
	source, err := newSource(in, opt.TempDir)
	if err != nil {
		return Info{}, err
	}
	defer func() {
		if e := source.close(); e != nil && err == nil {
			err = fmt.Errorf("the target is restored, but a temporary file remains: %w", e)
		}
	}()
	last := uint64(0)
	info, err = read(ctx, source.first, StepVerify, opt.Progress, func(obj *meta.Object) error {
		last = max(last, obj.Revision)
		return nil
	})
	if err != nil {
		return Info{}, err
	}
	second, err := source.again()
	if err != nil {
		return Info{}, err
	}
	if err := target.open(opt.Replace); err != nil {
		return Info{}, err
	}
	defer layer.Close()
	if err := target.mark(fmt.Sprint(reasonPrefix, info.Revision)); err != nil {
		return Info{}, err
	}
	if err := target.fill(ctx, second, info, last, opt.Progress); err != nil {
		return Info{}, fmt.Errorf("%w; the target: %w", err, storage.ErrIncomplete)
	}
	return info, nil
}

// target is a layer that is restored into.
type target struct {
	storage.EmbeddedLayer
	batcher storage.Batcher
	marker  storage.IncompleteMarker

	last  uint64 // the last revision
	batch []storage.Change
	bytes int
}

func newTarget(layer storage.EmbeddedLayer) (*target, error) {
	if layer == nil {
		return nil, fmt.Errorf("%w, there is none", ErrUnsuitable)
	}
	if _, shared := storage.As[storage.SharedLayer](layer); shared {
		return nil, fmt.Errorf("%w, a shared engine orders changes itself; restore into a local store and copy it into the engine", ErrUnsuitable)
	}
	t := &target{EmbeddedLayer: layer}
	var ok bool
	if t.batcher, ok = storage.As[storage.Batcher](layer); !ok {
		return nil, fmt.Errorf("%w, %w", ErrUnsuitable, storage.ErrBatchUnsupported)
	}
	if t.marker, ok = storage.As[storage.IncompleteMarker](layer); !ok {
		return nil, fmt.Errorf("%w, %T cannot be marked as incomplete", ErrUnsuitable, layer)
	}
	return t, nil
}

// open starts the target, which must be empty, left by a restore that was cut off, or to be replaced.
func (t *target) open(replace bool) error {
	err := t.Start(storage.LayerOptions{AllowIncomplete: replace})
	if isIncompleteRestore(err) {
		replace = true // what is there is a part of a backup
		err = t.Start(storage.LayerOptions{AllowIncomplete: true})
	}
	if err != nil {
		return err
	}
	if t.last, err = t.batcher.LastRevision(); err == nil && !replace {
		err = t.mustBeEmpty()
	}
	if err != nil {
		t.Close()
	}
	return err
}

// isIncompleteRestore reports whether an error of Start is about a restore that was cut off. An engine
// may write the white space of the reason in its own way.
func isIncompleteRestore(err error) bool {
	return errors.Is(err, storage.ErrIncomplete) && strings.Contains(strings.Join(strings.Fields(err.Error()), " "), reasonPrefix)
}

func (t *target) mustBeEmpty() error {
	for obj, err := range storage.Scan(t.EmbeddedLayer, "") {
		if err != nil {
			return err
		}
		return fmt.Errorf("%w, it holds objects such as %q", ErrNotEmpty, obj.Path)
	}
	if t.last > 0 {
		return fmt.Errorf("%w, it was used up to revision %d", ErrNotEmpty, t.last)
	}
	return nil
}

func (t *target) mark(reason string) error { return t.marker.MarkIncomplete(reason) }

// fill makes a target that is marked a copy of a backup, whose objects have revisions up to last, and
// takes the mark away.
func (t *target) fill(ctx context.Context, in io.Reader, verified Info, last uint64, progress func(Progress)) error {
	t.last = max(t.last, last, verified.Revision)
	if err := t.batcher.Commit([]storage.Change{{Clear: true, Revision: t.last}}); err != nil { // clears
		return err
	}
	info, err := read(ctx, in, StepRestore, progress, func(obj *meta.Object) error { return t.put(obj) })
	if err == nil && info != verified {
		err = fmt.Errorf("%w, it changed while it was read", ErrDamaged)
	}
	if err == nil {
		err = t.flush()
	}
	if err == nil {
		err = t.mark("")
	}
	return err
}

// put writes an object, at the latest with the end. Objects come by their paths: the revision of each
// change is the last one, so that it does not fall from change to change.
func (t *target) put(obj *meta.Object) error {
	t.batch = append(t.batch, storage.Change{Key: obj.Path, Object: obj, Revision: t.last})
	if t.bytes += len(obj.Path) + len(obj.Data); t.bytes < batchBytes && len(t.batch) < batchObjects {
		return nil
	}
	return t.flush()
}

func (t *target) flush() error {
	if len(t.batch) == 0 {
		return nil
	}
	err := t.batcher.Commit(t.batch)
	if entry, ok := errors.AsType[*storage.EntryError](err); ok && entry.Index >= 0 && entry.Index < len(t.batch) {
		err = fmt.Errorf("key %q: %w", t.batch[entry.Index].Key, entry.Err)
	}
	clear(t.batch)
	t.batch, t.bytes = t.batch[:0], 0
	return err
}

// source is a backup that is read twice.
type source struct {
	first io.Reader
	seek  io.ReadSeeker // nil for a reader that cannot
	start int64         // of the backup in seek
	spool *os.File      // nil with seek
}

func newSource(in io.Reader, tempDir string) (*source, error) {
	if seeker, ok := in.(io.ReadSeeker); ok {
		// A pipe has the method too, and fails.
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			return &source{first: in, seek: seeker, start: start}, nil
		}
	}
	spool, err := os.CreateTemp(tempDir, "oolith-restore-*")
	if err != nil {
		return nil, err
	}
	return &source{first: io.TeeReader(in, spool), spool: spool}, nil
}

// again returns the backup from its start.
func (s *source) again() (io.Reader, error) {
	if s.spool == nil {
		_, err := s.seek.Seek(s.start, io.SeekStart)
		return s.seek, err
	}
	_, err := s.spool.Seek(0, io.SeekStart)
	return s.spool, err
}

// close removes what was kept.
func (s *source) close() error {
	if s.spool == nil {
		return nil
	}
	return errors.Join(s.spool.Close(), os.Remove(s.spool.Name()))
}
