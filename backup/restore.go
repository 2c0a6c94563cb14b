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

// RestoreOptions configure Restore. The zero value restores into a new or empty store.
type RestoreOptions struct {
	// Replace allows a target with objects. Restore deletes all of them, also those that the backup lacks, and clears
	// a mark of incomplete content.
	Replace bool
	// TempDir is the directory for a temporary copy of a backup from a reader that cannot seek; os.TempDir() if
	// empty.
	TempDir string
	// Progress, if not nil, is called occasionally by the goroutine of Restore.
	Progress func(Progress)
}

// reasonPrefix is the mark of a target during a restore, before its revision.
const reasonPrefix = "restore of a backup of revision "

// The limits of one batch.
const (
	batchObjects = 1000
	batchBytes   = 8 << 20
)

// Restore restores a backup into a layer that is not started, such as engine.Open returns it. It starts the layer and
// closes it afterwards.
//
// First it verifies the whole backup, and rejects what Verify rejects before it changes anything. For that it reads
// the backup twice, from the reader's position, if the reader is an io.Seeker. Otherwise it keeps a temporary file.
// Then it writes the objects in batches, with their paths, times, revisions and times to live. It also writes objects
// that have expired since; the store never returns them. The revisions of the store continue after the last ones of
// the backup and of the target.
//
// A target that holds objects, or that held some and knows higher revisions, fails with ErrNotEmpty unless
// Options.Replace is set. During the restore the target carries a durable mark, so an interrupted restore is always
// detected: after an error, a canceled context or a crash, every Start of the target fails with storage.ErrIncomplete
// until a restore completes. The error of the interrupted restore also matches storage.ErrIncomplete. The target must
// be a storage.Batcher and a storage.IncompleteMarker.
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

// target is the layer to restore into.
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

// open starts the target. It must be empty, left by an interrupted restore, or be replaced.
func (t *target) open(replace bool) error {
	err := t.Start(storage.LayerOptions{AllowIncomplete: replace})
	if isIncompleteRestore(err) {
		replace = true // it holds part of a backup
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

// isIncompleteRestore reports whether an error of Start is about an interrupted restore. Engines may change the white
// space of the reason.
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

// fill copies a backup, with revisions up to last, into a marked target and removes the mark.
func (t *target) fill(ctx context.Context, in io.Reader, verified Info, last uint64, progress func(Progress)) error {
	t.last = max(t.last, last, verified.Revision)
	if err := t.batcher.Commit([]storage.Change{{Clear: true, Revision: t.last}}); err != nil { // clear
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

// put writes an object, at the latest with the last batch. Objects are in order of path, so each change gets the last
// revision; revisions must not decrease.
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

// source is a backup that can be read twice.
type source struct {
	first io.Reader
	seek  io.ReadSeeker // nil if it cannot seek
	start int64         // of the backup in seek
	spool *os.File      // nil with seek
}

func newSource(in io.Reader, tempDir string) (*source, error) {
	if seeker, ok := in.(io.ReadSeeker); ok {
		// Seek exists on pipes too, but fails there.
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

// close deletes the temporary file.
func (s *source) close() error {
	if s.spool == nil {
		return nil
	}
	return errors.Join(s.spool.Close(), os.Remove(s.spool.Name()))
}
