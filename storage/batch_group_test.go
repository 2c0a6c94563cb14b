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
)

// Batches and conditions in groups of writes, which share a commit of the layer.

func committing(s *Layered, add func(b *Batch)) func() error {
	return func() error {
		var batch Batch
		add(&batch)
		_, err := s.Commit(&batch)
		return err
	}
}

// settingIf is a set of "a" that demands a revision, 0 for absence.
func settingIf(s *Layered, data string, revision uint64) func() error {
	return func() error {
		_, err := s.SetWith("a", json.RawMessage(data), SetOptions{IfRevision: revision, IfAbsent: revision == 0})
		return err
	}
}

// A change that the layer refuses fails the whole batch that it is of, and no other write.
func TestRefusedChangeFailsItsBatch(t *testing.T) {
	for _, memory := range []bool{true, false} {
		t.Run(fmt.Sprintf("memory=%v", memory), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				layer := newFakeBatcher()
				cfg := LayeredConfig{Embedded: layer}
				if memory {
					cfg.Memory = NewMemoryLayer()
				}
				s := start(t, cfg, Options{})
				var seen tape
				s.Watch(seen.record)
				refuse := func(changes []Change) error {
					for i, c := range changes {
						if c.Key == "big" {
							return &EntryError{Index: i, Err: errors.New("too large")}
						}
					}
					return nil
				}
				errs := queued(t, layer, s, refuse,
					setting(s, "a", "1"),
					committing(s, func(b *Batch) {
						b.Set("b", json.RawMessage("2"))
						b.Set("big", json.RawMessage("2"))
						b.Set("c", json.RawMessage("2"))
					}),
					setting(s, "d", "3"),
					committing(s, func(b *Batch) {
						b.Set("e", json.RawMessage("4"))
						b.SetWith("b", json.RawMessage("4"), SetOptions{IfAbsent: true}) // held by the refused batch at first
					}),
					deleting(s, "c"), // there only with the refused batch
				)
				for i, want := range []string{"", `commit: "big", persistent layer: too large`, "", "", "not found"} {
					if got := fmt.Sprint(errs[i]); (errs[i] == nil) != (want == "") || !strings.Contains(got, want) && want != "" {
						t.Errorf("write %d = %v, want %q", i, errs[i], want)
					}
				}
				for i, path := range []string{"a", "d", "e", "b"} {
					if obj := object(t, s, path); obj.Revision != uint64(i+2) {
						t.Errorf("%s has revision %d, want %d", path, obj.Revision, i+2)
					}
				}
				expect(t, s, "b", "4")
				expect(t, s, "c", "")
				expect(t, s, "big", "")
				synctest.Wait()
				if got, want := seen.lines(), []string{"set first 1", "set a 1", "set d 3", "set e 4", "set b 4"}; !slices.Equal(got, want) {
					t.Errorf("saw %q, want %q", got, want)
				}
			})
		})
	}
}

// Conditions see the writes that were staged before them, in their own group.
func TestConditionsInOneGroup(t *testing.T) {
	over := map[string]func(*fakeBatcher) LayeredConfig{}
	for _, k := range kinds() {
		if k.batches && k.persistent && !strings.Contains(k.name, "async") {
			over[k.name] = k.over
		}
	}
	for name, cfg := range over {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				layer := newFakeBatcher()
				s := start(t, cfg(layer), Options{})
				set(t, s, "a", "0") // revision 1; "first" of queued is 2
				errs := queued(t, layer, s, noFault,
					settingIf(s, "1", 1), // 3
					settingIf(s, "2", 1),
					settingIf(s, "3", 3), // 4
					settingIf(s, "4", 0),
					func() error { return s.DelWith("a", DelOptions{IfRevision: 3}) },
					func() error { return s.DelWith("a", DelOptions{IfRevision: 4}) }, // 5
					settingIf(s, "5", 4),
					settingIf(s, "6", 0), // 6
					settingIf(s, "7", 0),
					committing(s, func(b *Batch) {
						b.SetWith("a", json.RawMessage("8"), SetOptions{IfRevision: 6})
						b.SetWith("first", json.RawMessage("8"), SetOptions{IfRevision: 1})
					}),
					committing(s, func(b *Batch) {
						b.SetWith("first", json.RawMessage("9"), SetOptions{IfRevision: 2}) // 7
						b.SetWith("a", json.RawMessage("9"), SetOptions{IfRevision: 6})     // 8
					}),
					settingIf(s, "10", 8), // 9
				)
				current := []uint64{0, 3, 0, 4, 4, 0, 0, 0, 6, 2, 0, 0}
				for i, fails := range []bool{false, true, false, true, true, false, true, false, true, true, false, false} {
					conflict, ok := errors.AsType[*ConflictError](errs[i])
					if ok != fails || !fails && errs[i] != nil {
						t.Errorf("write %d = %v, want a conflict: %v", i, errs[i], fails)
					} else if fails && conflict.Current != current[i] {
						t.Errorf("write %d found revision %d, want %d", i, conflict.Current, current[i])
					}
				}
				if obj := object(t, s, "a"); string(obj.Data) != "10" || obj.Revision != 9 {
					t.Errorf("left is %s, want 10 of revision 9", show(obj))
				}
				expect(t, s, "first", "9")
			})
		})
	}
}

// Of two who swap from the same revision in one group, exactly one wins.
func TestOneOfManySwapsWins(t *testing.T) {
	each(t, Options{}, nil, func(t *testing.T, _ kind, s *Layered, _ *fakeBatcher) {
		for range 30 {
			set(t, s, "a", "0")
			revision := object(t, s, "a").Revision
			var won atomic.Int32
			var group sync.WaitGroup
			for g := range 8 {
				group.Go(func() {
					switch err := settingIf(s, fmt.Sprint(g+1), revision)(); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, ErrConflict):
						t.Error(err)
					}
				})
			}
			group.Wait()
			if won.Load() != 1 {
				t.Fatalf("%d of 8 swaps from one revision succeeded", won.Load())
			}
		}
	})
}

// asyncStore is a store over an async layer whose syncs stop until the test ends them.
type asyncStore struct {
	*Layered
	layer   *fakeAsync
	arrived chan chan error
	group   sync.WaitGroup
}

// flight is a write whose group waits in its sync.
type flight struct {
	end    chan error // what the sync returns
	answer chan error
}

func newAsyncStore(t *testing.T) *asyncStore {
	a := &asyncStore{layer: &fakeAsync{fakeBatcher: newFakeBatcher()}, arrived: make(chan chan error, 10)}
	a.Layered = withLayer(t, a.layer)
	set(t, a.Layered, "a", "0") // revision 1
	a.layer.sync = func([]Change) error {
		end := make(chan error)
		a.arrived <- end
		return <-end
	}
	return a
}

// begin starts a write, and returns when its group is in its sync.
func (a *asyncStore) begin(write func() error) flight {
	f := flight{answer: a.queue(write)}
	f.end = <-a.arrived
	return f
}

// queue starts a write that waits for a group to end.
func (a *asyncStore) queue(write func() error) (answer chan error) {
	answer = make(chan error, 1)
	a.group.Go(func() { answer <- write() })
	synctest.Wait()
	return answer
}

// With two groups in flight the second one's conditions see the first, readers see neither, and they
// become visible in their order, even if the second one is durable first.
func TestConditionsSeeGroupsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsyncStore(t)
		first := a.begin(settingIf(a.Layered, "1", 1))           // revision 2
		second := a.begin(committing(a.Layered, func(b *Batch) { // 3 and 4
			b.SetWith("a", json.RawMessage("3"), SetOptions{IfRevision: 2})
			b.Set("b", json.RawMessage("3"))
		}))
		stale := a.queue(settingIf(a.Layered, "4", 2))
		second.end <- nil
		synctest.Wait()
		expect(t, a.Layered, "a", "0")
		expect(t, a.Layered, "b", "")
		first.end <- nil
		a.group.Wait()
		expect(t, a.Layered, "a", "3")
		expect(t, a.Layered, "b", "3")
		must(t, errors.Join(<-first.answer, <-second.answer))
		err := <-stale
		if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.Current != 3 {
			t.Errorf("a swap from a revision that a group in flight replaced = %v, want a conflict with revision 3", err)
		}
		a.layer.sync = nil
	})
}

// A conflict with what is in flight is answered once that is durable, and not before: it may fail.
func TestConflictWithAGroupInFlight(t *testing.T) {
	for _, end := range []error{nil, errors.New("disk gone")} {
		synctest.Test(t, func(t *testing.T) {
			a := newAsyncStore(t)
			first := a.begin(settingIf(a.Layered, "1", 1))
			stale := a.queue(settingIf(a.Layered, "2", 1))
			if len(stale) != 0 {
				t.Errorf("a conflict with a group that is not durable was answered: %v", <-stale)
			}
			first.end <- end
			a.group.Wait()
			want := ErrConflict
			if end != nil {
				want = ErrWritesStopped // what it conflicted with is not there
			}
			if err := <-stale; !errors.Is(err, want) {
				t.Errorf("with %v the swap got %v, want %v", end, err, want)
			}
			a.layer.sync = nil
		})
	}
}

// A delete of a pattern, and a clear, take with them what is in flight before them.
func TestDeletesOfManyBehindAGroupInFlight(t *testing.T) {
	for name, remove := range map[string]func(l *Layered) error{
		"pattern": func(l *Layered) error { return l.Del("x/*") },
		"subtree": func(l *Layered) error { return l.Del("x/**") },
		"clear":   func(l *Layered) error { l.Clear(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAsyncStore(t)
				first := a.begin(func() error { _, err := a.Set("x/new", json.RawMessage("1")); return err })
				a.layer.sync = nil // for what follows
				removed := a.queue(func() error { return remove(a.Layered) })
				if len(removed) != 0 {
					t.Error("it was answered before the group")
				}
				first.end <- nil
				a.group.Wait()
				must(t, errors.Join(<-first.answer, <-removed))
				expect(t, a.Layered, "x/new", "")
				if _, err := a.layer.Get("x/new"); !errors.Is(err, ErrNotFound) {
					t.Errorf("the layer has it, %v", err)
				}
			})
		})
	}
}

// A delete in flight, and what comes behind it.
func TestDeleteInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsyncStore(t)
		var seen tape
		a.Watch(seen.record)
		both := func(one, two func() error) {
			first, second := a.begin(one), a.begin(two)
			first.end <- nil
			second.end <- nil
			a.group.Wait()
			must(t, errors.Join(<-first.answer, <-second.answer))
		}
		both(deleting(a.Layered, "a"), settingIf(a.Layered, "1", 0))
		both(committing(a.Layered, func(b *Batch) {
			b.Del("a")
			b.Set("b", json.RawMessage("2"))
		}), deleting(a.Layered, "b"))
		synctest.Wait()
		want := []string{"del a 0", "set a 1", "del a 1", "set b 2", "del b 2"}
		if got := seen.lines(); !slices.Equal(got, want) {
			t.Errorf("saw %q, want %q", got, want)
		}
		a.layer.sync = nil
	})
}

// What a refused write stood on counts again for the writes behind it, though it is in flight still.
func TestRefusedChangeOverAGroupInFlight(t *testing.T) {
	inFlight := map[string]struct {
		first func(s *Layered) error
		want  string // of a, by a swap behind the refused one
	}{
		"delete": {func(s *Layered) error { return s.Del("a") }, "created anew"},
		"set":    {func(s *Layered) error { return second(s.Set("a", json.RawMessage("1"))) }, "kept"},
	}
	for name, test := range inFlight {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAsyncStore(t)
				old := object(t, a.Layered, "a")
				g := newGate()
				a.layer.onCommit(func(changes []Change) error {
					if changes[0].Revision == 2 && len(changes) == 1 {
						g.pass()
					}
					for i, c := range changes {
						if c.Object != nil && string(c.Object.Data) == `"big"` {
							return &EntryError{Index: i, Err: errors.New("too large")}
						}
					}
					return nil
				})
				first := a.queue(func() error { return test.first(a.Layered) })
				<-g.arrived // what comes now makes one group
				big := a.queue(setting(a.Layered, "a", `"big"`))
				batch := a.queue(committing(a.Layered, func(b *Batch) {
					b.Set("b", json.RawMessage("3"))
					b.Set("a", json.RawMessage(`"big"`))
				}))
				good := a.queue(setting(a.Layered, "a", "2"))
				close(g.open)
				ends := []chan error{<-a.arrived, <-a.arrived}
				ends[0] <- nil
				ends[1] <- nil
				a.group.Wait()
				if err := errors.Join(<-first, <-good); err != nil {
					t.Error(err)
				}
				for _, answer := range []chan error{big, batch} {
					if err := <-answer; err == nil || !strings.Contains(err.Error(), "too large") {
						t.Errorf("a refused write got %v", err)
					}
				}
				expect(t, a.Layered, "b", "")
				now := object(t, a.Layered, "a")
				if string(now.Data) != "2" || now.Revision != 3 || (now.Created == old.Created && now.Updated != 0) != (test.want == "kept") {
					t.Errorf("there is %s, it was %s, want it %s", show(now), show(old), test.want)
				}
				a.layer.sync = nil
			})
		})
	}
}

// When the sync of a group fails, nothing of it is seen, nor of the group that was built on it,
// though that one is durable.
func TestFailedSyncOfGroupsInFlight(t *testing.T) {
	faults := map[string]func() error{
		"error": func() error { return errors.New("disk gone") },
		"panic": func() error { panic("disk gone") },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAsyncStore(t)
				wait := a.layer.sync
				a.layer.sync = func(changes []Change) error {
					if err := wait(changes); err != nil {
						return fault()
					}
					return nil
				}
				var seen tape
				a.Watch(seen.record)
				first := a.begin(committing(a.Layered, func(b *Batch) {
					b.Set("a", json.RawMessage("1"))
					b.Set("b", json.RawMessage("1"))
				}))
				second := a.begin(settingIf(a.Layered, "2", 2))
				third := a.queue(deleting(a.Layered, "a"))
				second.end <- nil
				first.end <- errors.New("fail")
				a.group.Wait()
				for i, answer := range []chan error{first.answer, second.answer, third} {
					if err := <-answer; !errors.Is(err, ErrWritesStopped) || !strings.Contains(err.Error(), "disk gone") {
						t.Errorf("write %d = %v, want ErrWritesStopped and its cause", i, err)
					}
				}
				expect(t, a.Layered, "a", "0")
				expect(t, a.Layered, "b", "")
				synctest.Wait()
				if got := seen.lines(); len(got) != 0 {
					t.Errorf("saw %q of writes that failed", got)
				}
				if err := setting(a.Layered, "c", "1")(); !errors.Is(err, ErrWritesStopped) {
					t.Errorf("a later write = %v, want ErrWritesStopped", err)
				}
				a.layer.sync = nil
				restart(t, a.Layered)
				set(t, a.Layered, "c", "1")
			})
		})
	}
}

// A layer that fails or panics in the commit of a batch: the callers get an error, reads go on and
// show nothing of it, and no later write is taken.
func TestFailedCommitOfABatch(t *testing.T) {
	faults := map[string]func([]Change) error{
		"error": func([]Change) error { return errors.New("disk gone") },
		"panic": func([]Change) error { panic("disk gone") },
	}
	for name, fault := range faults {
		each(t, Options{}, func(k kind) bool { return k.batches && k.persistent }, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
			set(t, s, "a", "1")
			revision := object(t, s, "a").Revision
			fake.onCommit(fault)
			batch := committing(s, func(b *Batch) {
				b.SetWith("a", json.RawMessage("2"), SetOptions{IfRevision: revision})
				b.Push("l/*", json.RawMessage("3"))
			})
			for range 2 {
				if err := batch(); !errors.Is(err, ErrWritesStopped) || !strings.Contains(err.Error(), "disk gone") {
					t.Errorf("%s: Commit = %v, want ErrWritesStopped and its cause", name, err)
				}
			}
			_, err := s.Update("a", increment)
			if !errors.Is(err, ErrWritesStopped) {
				t.Errorf("%s: Update = %v, want ErrWritesStopped", name, err)
			}
			expect(t, s, "a", "1")
			if n, err := s.Count("l/*"); n != 0 || err != nil {
				t.Errorf("%s: Count = %d, %v after a failed commit", name, n, err)
			}
			fake.onCommit(nil)
			restart(t, s)
			must(t, committing(s, func(b *Batch) {
				b.SetWith("a", json.RawMessage("2"), SetOptions{IfRevision: revision})
				b.Set("b", json.RawMessage("3"))
			})())
		})
	}
}
