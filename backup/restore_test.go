package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/backup"
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// recorder is a layer that says whether it was started, and what it is marked with.
type recorder struct {
	*storagetest.BatchLayer
	starts  int
	reasons []string
	// commit, if not nil, runs before each Commit, and its error is Commit's.
	commit func(changes []storage.Change) error
}

func newRecorder() *recorder { return &recorder{BatchLayer: newDisk()} }

func (r *recorder) Start(opt storage.LayerOptions) error {
	r.starts++
	return r.BatchLayer.Start(opt)
}

func (r *recorder) MarkIncomplete(reason string) error {
	r.reasons = append(r.reasons, reason)
	return r.BatchLayer.MarkIncomplete(reason)
}

func (r *recorder) Commit(changes []storage.Change) error {
	if r.commit != nil {
		if err := r.commit(changes); err != nil {
			return err
		}
	}
	return r.BatchLayer.Commit(changes)
}

func restoreInto(t testing.TB, target storage.EmbeddedLayer, file []byte, opt backup.RestoreOptions) error {
	t.Helper()
	_, err := backup.Restore(t.Context(), bytes.NewReader(file), target, opt)
	if target != nil && target.Active() {
		t.Error("the target is left open")
	}
	return err
}

// TestRefusedBeforeAnything shows that a backup that is not whole does not even start the target.
func TestRefusedBeforeAnything(t *testing.T) {
	file, _ := sample(t)
	damaged := bytes.Clone(file)
	damaged[len(file)-20] ^= 1 // in the checksum of the whole
	newer := bytes.Clone(file)
	newer[8]++
	for _, test := range []struct {
		name string
		file []byte
		want error
	}{
		{"damaged at its end", damaged, backup.ErrDamaged},
		{"cut off", file[:len(file)-1], backup.ErrTruncated},
		{"foreign", []byte("hello"), backup.ErrForeign},
		{"newer", newer, backup.ErrVersion},
	} {
		for name, source := range map[string]io.Reader{"seeking": bytes.NewReader(test.file), "streamed": streamed(test.file)} {
			t.Run(test.name+"/"+name, func(t *testing.T) {
				target, dir := newRecorder(), t.TempDir()
				_, err := backup.Restore(t.Context(), source, target, backup.RestoreOptions{Replace: true, TempDir: dir})
				if !errors.Is(err, test.want) || target.starts != 0 {
					t.Errorf("%v after %d starts, want %v after none", err, target.starts, test.want)
				}
				oneLine(t, err)
				isEmpty(t, dir)
			})
		}
	}
}

func isEmpty(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v is left in the directory of temporary files", entries, err)
	}
}

func TestTargetsThatAreNotEmpty(t *testing.T) {
	file, info := sample(t)
	inUse := func(commands func(store *storage.Layered)) *recorder {
		layer := newRecorder()
		store := storage.New(storage.LayeredConfig{Embedded: layer})
		if err := store.Start(storage.Options{}); err != nil {
			t.Fatal(err)
		}
		commands(store)
		store.Close()
		return layer
	}
	holds := func(store *storage.Layered) {
		for i := range 10 {
			put(t, store, fmt.Sprintf("b/%d", i), `"old"`)
		}
	}
	held := func(store *storage.Layered) { holds(store); store.Clear() }
	for _, test := range []struct {
		name string
		use  func(store *storage.Layered)
		text string
		last uint64
	}{
		{"with objects", holds, `it holds objects such as "b/0"`, 10},
		{"that held objects", held, "it was used up to revision 11", 11},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := inUse(test.use)
			before := content(t, target)
			err := restoreInto(t, target, file, backup.RestoreOptions{})
			if !errors.Is(err, backup.ErrNotEmpty) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, want %v with %q", err, backup.ErrNotEmpty, test.text)
			}
			if after := content(t, target); !slices.Equal(after, before) || len(target.reasons) != 0 {
				t.Errorf("the target now has %q and was marked %q, want %q", after, target.reasons, before)
			}
			if err := restoreInto(t, target, file, backup.RestoreOptions{Replace: true}); err != nil {
				t.Fatal(err)
			}
			if after := content(t, target); len(after) != int(info.Objects) {
				t.Errorf("replaced by %q, want the %d objects of the backup", after, info.Objects)
			}
			// No revision is used twice: neither of the backup's nor of the target's own.
			goesOn(t, target, max(info.Revision, test.last))
		})
	}
}

// interrupting cancels a context behind some objects of the second reading.
func interrupting(cancel func()) func(backup.Progress) {
	return func(p backup.Progress) {
		if p.Step == backup.StepRestore {
			cancel()
		}
	}
}

// TestInterruptedRestore shows that a restore that is cut off, in any way, leaves a target that says so, whatever
// the engine, and that it can be made again.
func TestInterruptedRestore(t *testing.T) {
	store := inMemory(t)
	fill(t, store)
	file, info := written(t, store, backup.WriteOptions{})
	dir := t.TempDir()
	for name, target := range map[string]func() storage.EmbeddedLayer{
		"disk":   func() storage.EmbeddedLayer { return newDisk() },
		"pebble": func() storage.EmbeddedLayer { return pebble.New(dir, pebble.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			layer := target()
			ctx, cancel := context.WithCancel(t.Context())
			_, err := backup.Restore(ctx, bytes.NewReader(file), layer, backup.RestoreOptions{Progress: interrupting(cancel)})
			if !errors.Is(err, context.Canceled) || !errors.Is(err, storage.ErrIncomplete) {
				t.Fatalf("%v, want %v and %v", err, context.Canceled, storage.ErrIncomplete)
			}
			oneLine(t, err)
			err = layer.Start(storage.LayerOptions{})
			if !errors.Is(err, storage.ErrIncomplete) || !strings.Contains(err.Error(), fmt.Sprintf("restore of a backup of revision %d", info.Revision)) {
				t.Fatalf("the target starts: %v, want %v with the reason", err, storage.ErrIncomplete)
			}
			if err := storage.New(storage.LayeredConfig{Embedded: layer}).Start(storage.Options{}); !errors.Is(err, storage.ErrIncomplete) {
				t.Errorf("a store over it starts: %v, want %v", err, storage.ErrIncomplete)
			}
			if err := restoreInto(t, layer, file, backup.RestoreOptions{}); err != nil {
				t.Fatalf("again: %v", err)
			}
			if got := content(t, layer); len(got) != int(info.Objects) {
				t.Errorf("%d objects after the second restore, want %d", len(got), info.Objects)
			}
			goesOn(t, layer, info.Revision)
		})
	}
}

// TestFailingTarget lets each commit of a restore fail in turn.
func TestFailingTarget(t *testing.T) {
	store := inMemory(t)
	fill(t, store)
	file, _ := written(t, store, backup.WriteOptions{})
	broken := errors.New("the disk is gone")
	for failAt := 0; ; failAt++ {
		target, commits := newRecorder(), 0
		target.commit = func([]storage.Change) error {
			if commits++; commits > failAt {
				return broken
			}
			return nil
		}
		err := restoreInto(t, target, file, backup.RestoreOptions{})
		if err == nil {
			if failAt < 2 {
				t.Errorf("the restore made %d commits, want the clear and some more", commits)
			}
			break
		}
		if !errors.Is(err, broken) || !errors.Is(err, storage.ErrIncomplete) {
			t.Errorf("commit %d failed: %v, want %v", failAt, err, broken)
		}
		if err := target.Start(storage.LayerOptions{}); !errors.Is(err, storage.ErrIncomplete) {
			t.Errorf("commit %d failed: the target starts: %v, want %v", failAt, err, storage.ErrIncomplete)
		}
	}
	target := newRecorder()
	target.commit = func(changes []storage.Change) error {
		if len(changes) > 1 {
			return &storage.EntryError{Index: 1, Err: broken}
		}
		return nil
	}
	small, _ := sample(t)
	if err := restoreInto(t, target, small, backup.RestoreOptions{}); !errors.Is(err, broken) || !strings.Contains(err.Error(), `key "b/1"`) {
		t.Errorf("a refused object: %v, want one that names it", err)
	}
}

// TestTargetIsIncompleteForAnotherReason shows that only a restore goes on where a restore was cut off.
func TestTargetIsIncompleteForAnotherReason(t *testing.T) {
	file, info := sample(t)
	target := newDisk()
	if err := target.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := target.MarkIncomplete("copy of another store"); err != nil {
		t.Fatal(err)
	}
	target.Close()
	if err := restoreInto(t, target, file, backup.RestoreOptions{}); !errors.Is(err, storage.ErrIncomplete) || !strings.Contains(err.Error(), "copy of another store") {
		t.Errorf("%v, want %v with the reason", err, storage.ErrIncomplete)
	}
	if err := restoreInto(t, target, file, backup.RestoreOptions{Replace: true}); err != nil {
		t.Error(err)
	}
	goesOn(t, target, info.Revision)
}

func TestUnsuitableTargets(t *testing.T) {
	file, _ := sample(t)
	unmarkable := struct {
		storage.EmbeddedLayer
		storage.Batcher
	}{storagetest.NewPlainLayer(&storagetest.Disk{}, "d"), newDisk()}
	for name, target := range map[string]storage.EmbeddedLayer{
		"none": nil, "one without batches": storagetest.NewPlainLayer(&storagetest.Disk{}, "d"), "one that cannot be marked": unmarkable,
	} {
		if err := restoreInto(t, target, file, backup.RestoreOptions{}); !errors.Is(err, backup.ErrUnsuitable) {
			t.Errorf("%s: %v, want %v", name, err, backup.ErrUnsuitable)
		}
	}
	open := newDisk()
	if err := open.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Restore(t.Context(), bytes.NewReader(file), open, backup.RestoreOptions{}); !errors.Is(err, storage.ErrActive) || !open.Active() {
		t.Errorf("a target that is open: %v, want %v, and that it stays open", err, storage.ErrActive)
	}
	open.Close()
	wrapped := storage.NewEmbeddedWrapper(newDisk())
	if err := restoreInto(t, wrapped, file, backup.RestoreOptions{}); err != nil {
		t.Errorf("a wrapped target: %v", err)
	}
}

// TestSources shows where a backup is read from: a file from where it stands, a pipe through a temporary
// file, which is removed.
func TestSources(t *testing.T) {
	content, info := sample(t)
	dir := t.TempDir()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, append([]byte("something else"), content...), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(int64(len("something else")), io.SeekStart); err != nil {
		t.Fatal(err)
	}
	// The directory for temporary files does not exist: none is made.
	got, err := backup.Restore(t.Context(), file, newDisk(), backup.RestoreOptions{TempDir: filepath.Join(dir, "none")})
	if err != nil || got != info {
		t.Errorf("from a file: %+v, %v, want %+v", got, err, info)
	}

	reading, writing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = writing.Write(content)
		_ = writing.Close()
	}()
	got, err = backup.Restore(t.Context(), reading, newDisk(), backup.RestoreOptions{TempDir: dir})
	if err != nil || got != info {
		t.Errorf("from a pipe: %+v, %v, want %+v", got, err, info)
	}
	if err := reading.Close(); err != nil {
		t.Error(err)
	}
	isEmpty(t, dir)

	target := newRecorder()
	_, err = backup.Restore(t.Context(), streamed(content), target, backup.RestoreOptions{TempDir: filepath.Join(dir, "none")})
	if !os.IsNotExist(errors.Unwrap(err)) || target.starts != 0 {
		t.Errorf("without a place for a temporary file: %v after %d starts", err, target.starts)
	}
}

// changing is a backup that is another one when it is read again.
type changing struct {
	*bytes.Reader
	next []byte
}

func (c *changing) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		c.Reader = bytes.NewReader(c.next)
	}
	return c.Reader.Seek(offset, whence)
}

// TestBackupThatChanges shows that what was verified is what is restored, or that the target says it is not.
func TestBackupThatChanges(t *testing.T) {
	first, _ := sample(t)
	store := inMemory(t)
	put(t, store, "another", "1")
	second, _ := written(t, store, backup.WriteOptions{})
	for name, next := range map[string][]byte{"another backup": second, "half of it": first[:len(first)/2]} {
		target := newDisk()
		source := &changing{bytes.NewReader(first), next}
		if _, err := backup.Restore(t.Context(), source, target, backup.RestoreOptions{}); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s: %v, want %v", name, err, backup.ErrDamaged)
		}
		if err := target.Start(storage.LayerOptions{}); !errors.Is(err, storage.ErrIncomplete) {
			t.Errorf("%s: the target starts: %v, want %v", name, err, storage.ErrIncomplete)
		}
	}
}

// TestVersion1 reads a backup of version 1 as it was written when that was made: files outlive builds.
func TestVersion1(t *testing.T) {
	file, err := os.ReadFile("testdata/version1.oolith")
	if err != nil {
		t.Fatal(err)
	}
	target := newDisk()
	info, err := backup.Restore(t.Context(), bytes.NewReader(file), target, backup.RestoreOptions{})
	if err != nil || info.Version != 1 || info.Revision != 6 || info.Objects != 4 || info.Pattern != "" || info.Taken.UnixNano() == 0 {
		t.Fatalf("%+v, %v", info, err)
	}
	want := []string{
		`top top 5 0 0 @5 null`,
		`a/1 1 1 2 0 @1 {"text":"é \u00e9"}`,
		`a/2 2 -3 0 4102444800000000000 @2 [1, 2.50]`,
		`a/b/1 1 4 0 0 @4 "deep"`,
	}
	if got := content(t, target); !slices.Equal(got, want) {
		t.Errorf("it holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	goesOn(t, target, 6)
}
