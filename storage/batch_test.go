package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

func TestCommit(t *testing.T) {
	var written, read hooks
	each(t, Options{AfterWrite: written.run, BeforeRead: read.run}, batching, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		set(t, s, "a/old", "1")
		set(t, s, "a/gone", "2")
		old := object(t, s, "a/old")
		written.paths()
		read.paths()
		var batch Batch
		batch.Set("a/new", json.RawMessage("3"))
		batch.Set("a/old", json.RawMessage("4"))
		batch.SetWith("b/timed", json.RawMessage("5"), SetOptions{Times: &Times{Created: 7, Updated: 8}})
		batch.Del("a/gone")
		batch.Push("l/*", json.RawMessage("6"))
		batch.Push("l/*", json.RawMessage("7"))
		if batch.Len() != 6 {
			t.Errorf("Len = %d, want 6", batch.Len())
		}
		commits := len(fake.commits())
		got, err := s.Commit(&batch)
		must(t, err)
		if paths := read.paths(); len(paths) != 0 {
			t.Errorf("BeforeRead ran for %q in a commit", paths)
		}
		if k.persistent && len(fake.commits()) != commits+1 {
			t.Errorf("the batch took %d commits of the layer", len(fake.commits())-commits)
		}
		if len(got) != 6 {
			t.Fatalf("Commit returned %d objects, want 6", len(got))
		}
		for i, obj := range got {
			if want := old.Revision + 2 + uint64(i); obj.Revision != want {
				t.Errorf("change %d has revision %d, want %d", i, obj.Revision, want)
			}
			if i == 3 {
				if obj.Path != "a/gone" || obj.Data != nil {
					t.Errorf("a delete returned %s, want its path and revision only", show(obj))
				}
				continue
			}
			if there := object(t, s, obj.Path); !same(obj, there) {
				t.Errorf("Commit returned %s, there is %s", show(obj), show(there))
			}
			if cap(obj.Data) != len(obj.Data) {
				t.Errorf("data of %s has room behind it", obj.Path)
			}
		}
		if got[0].Updated != 0 || got[1].Created != old.Created || got[1].Updated == 0 || got[2].Created != 7 || got[2].Updated != 8 {
			t.Errorf("the times are of no set: %s; %s; %s", show(got[0]), show(got[1]), show(got[2]))
		}
		expect(t, s, "a/gone", "")
		if got[4].Path == got[5].Path || !strings.HasPrefix(got[4].Path, "l/") || string(got[5].Data) != "7" {
			t.Errorf("the pushes stored %s and %s", show(got[4]), show(got[5]))
		}
		if paths, want := written.paths(), []string{"a/new", "a/old", "b/timed", "a/gone", got[4].Path, got[5].Path}; !slices.Equal(paths, want) {
			t.Errorf("AfterWrite ran for %q, want %q", paths, want)
		}
		if k.persistent {
			restart(t, s)
			for i, obj := range got {
				if i != 3 && !same(obj, object(t, s, obj.Path)) {
					t.Errorf("after a restart there is %s, want %s", show(object(t, s, obj.Path)), show(obj))
				}
			}
		}
	})
}

// A batch can be committed again: it then finds what it made.
func TestCommitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		var batch Batch
		batch.SetWith("a", json.RawMessage("1"), SetOptions{TTL: time.Minute})
		batch.Push("l/*", json.RawMessage("2"))
		first, err := s.Commit(&batch)
		must(t, err)
		time.Sleep(time.Hour)
		second, err := s.Commit(&batch)
		must(t, err)
		if first[1].Path == second[1].Path || second[0].Revision != first[1].Revision+2 {
			t.Errorf("the second commit stored %s and %s", show(second[0]), show(second[1]))
		}
		// A time to live begins with its commit, and not with the batch.
		if want := time.Now().Add(time.Minute).UnixNano(); second[0].Expires != want {
			t.Errorf("the second commit expires at %d, want %d", second[0].Expires, want)
		}
		if list, err := s.GetList("l/*"); err != nil || len(list) != 2 {
			t.Errorf("two commits of a push left %d objects, %v", len(list), err)
		}
	})
}

func TestEmptyBatch(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, _ kind, s *Layered, fake *fakeBatcher) {
		for _, batch := range []*Batch{nil, {}} {
			if got, err := s.Commit(batch); len(got) != 0 || err != nil {
				t.Errorf("Commit of nothing = %v, %v", got, err)
			}
		}
		if got := fake.commits(); len(got) != 0 {
			t.Errorf("nothing made commits of %v changes", got)
		}
		s.Close()
		var batch Batch
		batch.Set("a", json.RawMessage("1"))
		for _, batch := range []*Batch{nil, {}, &batch} {
			if _, err := s.Commit(batch); !errors.Is(err, ErrNotActive) {
				t.Errorf("Commit after Close = %v, want ErrNotActive", err)
			}
		}
	})
}

// Whatever is wrong with one change, nothing of the batch happens.
func TestCommitAllOrNone(t *testing.T) {
	long := strings.Repeat("x", 2000)
	tests := []struct {
		name string
		add  func(b *Batch)
		want error
		says string
	}{
		{"absent key", func(b *Batch) { b.Del("none") }, ErrNotFound, `"none"`},
		{"revision of another", func(b *Batch) { b.SetWith("there", json.RawMessage("1"), SetOptions{IfRevision: 999}) }, ErrConflict, `"there"`},
		{"revision of an absent key", func(b *Batch) { b.DelWith("none", DelOptions{IfRevision: 1}) }, ErrConflict, `"none"`},
		{"present key", func(b *Batch) { b.SetWith("there", json.RawMessage("1"), SetOptions{IfAbsent: true}) }, ErrConflict, `"there"`},
		{"two sets of a key", func(b *Batch) { b.Set("first", json.RawMessage("9")) }, ErrDuplicateKey, `"first"`},
		{"set and delete of a key", func(b *Batch) { b.Del("first") }, ErrDuplicateKey, `"first"`},
		{"invalid path", func(b *Batch) { b.Set("a//b", json.RawMessage("1")) }, ErrInvalidPath, `"a//b"`},
		{"long path", func(b *Batch) { b.Set(long, json.RawMessage("1")) }, ErrInvalidPath, "2000 bytes"},
		{"set of a glob", func(b *Batch) { b.Set("a/*", json.RawMessage("1")) }, ErrGlobNotAllowed, `"a/*"`},
		{"delete of a glob", func(b *Batch) { b.Del("a/*") }, ErrGlobNotAllowed, `"a/*"`},
		{"delete of an invalid path", func(b *Batch) { b.Del("") }, ErrInvalidPath, `""`},
		{"push without a glob", func(b *Batch) { b.Push("a", json.RawMessage("1")) }, ErrGlobRequired, `"a"`},
		{"push of two globs", func(b *Batch) { b.Push("*/*", json.RawMessage("1")) }, ErrInvalidPath, `"*/*"`},
		{"no data", func(b *Batch) { b.Set("a", nil) }, ErrInvalidStorageData, `"a"`},
		{"broken data", func(b *Batch) { b.Push("l/*", json.RawMessage("{")) }, ErrInvalidStorageData, "byte"},
		{"two conditions", func(b *Batch) { b.SetWith("a", json.RawMessage("1"), SetOptions{IfRevision: 1, IfAbsent: true}) }, ErrInvalidOptions, `"a"`},
		{"push with a condition", func(b *Batch) { b.PushWith("a/*", json.RawMessage("1"), SetOptions{IfAbsent: true}) }, ErrInvalidOptions, `"a/*"`},
		{"push with times", func(b *Batch) { b.PushWith("a/*", json.RawMessage("1"), SetOptions{Times: &Times{}}) }, ErrInvalidOptions, `"a/*"`},
		{"negative TTL", func(b *Batch) { b.SetWith("a", json.RawMessage("1"), SetOptions{TTL: -1}) }, ErrInvalidTTL, "-1ns"},
		{"negative end", func(b *Batch) { b.SetWith("a", json.RawMessage("1"), SetOptions{Expires: -1}) }, ErrInvalidTTL, "-1"},
		{"TTL and end", func(b *Batch) { b.SetWith("a", json.RawMessage("1"), SetOptions{TTL: 1, Expires: 1}) }, ErrInvalidOptions, `"a"`},
	}
	var written hooks
	each(t, Options{AfterWrite: written.run}, batching, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		set(t, s, "there", "1")
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				written.paths()
				events := make(chan Event, 10)
				stop := s.Watch(func(e Event) { events <- e })
				defer stop()
				commits, last := len(fake.commits()), s.Stats().Revision
				var batch Batch
				batch.Set("first", json.RawMessage("1"))
				test.add(&batch)
				batch.Set("last", json.RawMessage("3"))
				got, err := s.Commit(&batch)
				if !errors.Is(err, test.want) || got != nil {
					t.Fatalf("Commit = %v, %v, want %v", got, err, test.want)
				}
				if text := err.Error(); !strings.Contains(text, test.says) || strings.Contains(text, "\n") || len(text) > 300 {
					t.Errorf("the error does not say %s in a line: %s", test.says, text)
				}
				expect(t, s, "there", "1")
				for _, path := range []string{"first", "last", "a"} {
					expect(t, s, path, "")
				}
				if n, err := s.Count("l/*"); n != 0 || err != nil {
					t.Errorf("%d pushed objects of a batch that failed, %v", n, err)
				}
				if paths := written.paths(); len(paths) != 0 || len(fake.commits()) != commits || s.Stats().Revision != last {
					t.Errorf("hooks for %q, %d commits, revision %d after %d", paths, len(fake.commits())-commits, s.Stats().Revision, last)
				}
				set(t, s, "there", "1") // writes go on; its event comes behind those of the batch
				if e := <-events; e.Key != "there" || e.Operation != OperationSet {
					t.Errorf("a batch that failed had the event %s %s", e.Operation, e.Key)
				}
			})
		}
	})
}

func TestConflictInABatchCanBeExamined(t *testing.T) {
	s := inMemory(t)
	set(t, s, "a", "1")
	var batch Batch
	batch.Set("b", json.RawMessage("1"))
	batch.SetWith("a", json.RawMessage("2"), SetOptions{IfRevision: 77})
	_, err := s.Commit(&batch)
	conflict, ok := errors.AsType[*ConflictError](err)
	if want := (ConflictError{Path: "a", Expected: 77, Current: 1}); !ok || *conflict != want {
		t.Errorf("the conflict is %+v in %v, want %+v", conflict, err, want)
	}
}

func TestBatchOnALayerWithoutBatches(t *testing.T) {
	var written hooks
	plain := func(k kind) bool { return !k.batches }
	each(t, Options{AfterWrite: written.run}, plain, func(t *testing.T, _ kind, s *Layered, fake *fakeBatcher) {
		written.paths()
		var two Batch
		two.Set("a", json.RawMessage("1"))
		two.Set("b", json.RawMessage("2"))
		if _, err := s.Commit(&two); !errors.Is(err, ErrBatchUnsupported) {
			t.Errorf("a batch of two = %v, want ErrBatchUnsupported", err)
		}
		expect(t, s, "a", "")
		for _, add := range []func(*Batch){
			func(b *Batch) { b.Set("a/1", json.RawMessage("1")) },
			func(b *Batch) { b.Push("l/*", json.RawMessage("2")) },
			func(b *Batch) { b.Del("a/1") },
		} {
			var one Batch
			add(&one)
			got, err := s.Commit(&one)
			must(t, err)
			if len(got) != 1 || got[0].Revision == 0 || got[0].Path == "" {
				t.Fatalf("a batch of one returned %v", got)
			}
			if got[0].Data != nil && !same(got[0], object(t, s, got[0].Path)) {
				t.Errorf("a batch of one returned %s, there is %s", show(got[0]), show(object(t, s, got[0].Path)))
			}
			if paths := written.paths(); !slices.Equal(paths, []string{got[0].Path}) {
				t.Errorf("AfterWrite ran for %q, want %q", paths, got[0].Path)
			}
		}
		var one Batch
		one.DelWith("a/1", DelOptions{IfRevision: 1})
		if _, err := s.Commit(&one); !errors.Is(err, ErrConflict) {
			t.Errorf("a batch of one with a condition = %v, want a conflict", err)
		}
	})
}

func TestBatchCopiesData(t *testing.T) {
	s := inMemory(t)
	buffer := []byte("1")
	var batch Batch
	for i := range 5 {
		buffer[0] = byte('1' + i)
		batch.Set(numbered(i), buffer)
	}
	_, err := s.Commit(&batch)
	must(t, err)
	for i := range 5 {
		expect(t, s, numbered(i), string(rune('1'+i)))
	}
}

// numberedBatch sets keys of three directories to one number.
func numberedBatch(n int) (b Batch, paths []string) {
	paths = []string{"x/1", "y/1", "x/2", "z/deep/1"}
	for _, path := range paths {
		b.Set(path, fmt.Appendf(nil, "%d", n))
	}
	return b, paths
}

// A reader that sees one change of a batch sees all of them, by point reads and by lists.
func TestReadersSeeABatchAtOnce(t *testing.T) {
	each(t, Options{}, batching, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) {
		commit := func(n int) {
			batch, _ := numberedBatch(n)
			if _, err := s.Commit(&batch); err != nil {
				t.Error(err)
			}
		}
		commit(0)
		number := func(obj meta.Object) (n int) {
			if err := json.Unmarshal(obj.Data, &n); err != nil {
				t.Errorf("%s: %v", show(obj), err)
			}
			return n
		}
		var done atomic.Bool
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() {
				seen := 0
				for !done.Load() && !t.Failed() {
					_, paths := numberedBatch(0)
					for _, path := range paths {
						obj, err := s.Get(path)
						if n := number(obj); err != nil || n < seen {
							t.Errorf("%s is of batch %d, %v, after one of batch %d was seen", path, n, err, seen)
						} else {
							seen = n
						}
					}
					list, err := s.GetList("x/*")
					if err != nil || len(list) != 2 || number(list[0]) != number(list[1]) || number(list[0]) < seen {
						t.Errorf("x/* lists %v, %v, after batch %d was seen", list, err, seen)
					}
				}
			})
		}
		for n := 1; n <= 400; n++ {
			commit(n)
		}
		done.Store(true)
		group.Wait()
	})
}

// The events of a batch come one behind the other, whatever is written at the same time.
func TestEventsOfABatchStayTogether(t *testing.T) {
	each(t, Options{}, batching, func(t *testing.T, _ kind, s *Layered, _ *fakeBatcher) {
		const goroutines, rounds, width = 4, 40, 5
		var seen tape
		s.Watch(seen.record)
		var group sync.WaitGroup
		for g := range goroutines {
			group.Go(func() {
				for i := range rounds {
					var batch Batch
					for n := range width {
						batch.Set(fmt.Sprintf("b/%d/%d", g, n), fmt.Appendf(nil, `"%d.%d"`, g, i))
					}
					if _, err := s.Commit(&batch); err != nil {
						t.Error(err)
					}
					set(t, s, fmt.Sprintf("single/%d", g), "1")
				}
			})
		}
		group.Wait()
		s.Close() // delivers all
		var last uint64
		lines := seen.lines()
		if want := goroutines * rounds * (width + 1); len(lines) != want {
			t.Fatalf("%d events, want %d", len(lines), want)
		}
		for i := 0; i < len(lines); i++ {
			if obj := seen.events[i].Object; obj.Revision != last+1 && last != 0 {
				t.Fatalf("event %d has revision %d, after %d", i, obj.Revision, last)
			}
			last = seen.events[i].Object.Revision
			if strings.HasPrefix(lines[i], "set single/") {
				continue
			}
			first := string(seen.events[i].Object.Data)
			for n := range width {
				obj := seen.events[i+n].Object
				if obj.Index != fmt.Sprint(n) || string(obj.Data) != first {
					t.Fatalf("change %d of a batch is %s, the first one's data is %s", n, show(*obj), first)
				}
			}
			i += width - 1
			last = seen.events[i].Object.Revision
		}
	})
}
