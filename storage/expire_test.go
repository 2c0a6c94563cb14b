package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// inBubble runs a test for each kind of store on a fake clock.
func inBubble(t *testing.T, options Options, only func(kind) bool, test func(t *testing.T, k kind, s *Layered, fake *fakeBatcher)) {
	t.Helper()
	for _, k := range kinds() {
		if only != nil && !only(k) {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFakeBatcher()
				test(t, k, start(t, k.over(fake), options), fake)
			})
		})
	}
}

func persistent(k kind) bool { return k.persistent }

// setTTL stores 1 with a time to live.
func setTTL(t testing.TB, s *Layered, path string, ttl time.Duration) meta.Object {
	t.Helper()
	obj, err := s.SetWith(path, json.RawMessage("1"), SetOptions{TTL: ttl})
	must(t, err)
	return obj
}

// noted is how many objects are known to expire.
func noted(s *Layered) int {
	e := &s.run.Load().expirer
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.due)
}

// showing returns the reads that show an object, which is in a directory of its own.
func showing(t *testing.T, s *Layered, path string) (reads []string) {
	t.Helper()
	list := path[:strings.LastIndexByte(path, '/')] + "/*"
	has := func(read string, objects []meta.Object, err error) {
		must(t, err)
		if slices.ContainsFunc(objects, func(o meta.Object) bool { return o.Path == path }) {
			reads = append(reads, read)
		}
	}
	hasPath := func(read string, paths []string, err error) {
		must(t, err)
		if slices.Contains(paths, path) {
			reads = append(reads, read)
		}
	}
	one := func(read string, obj meta.Object, err error) {
		if err == nil {
			reads = append(reads, read)
		} else if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", read, err)
		}
	}
	obj, err := s.Get(path)
	one("Get", obj, err)
	obj, err = s.GetAndLock(path)
	one("GetAndLock", obj, err)
	if err == nil {
		must(t, s.Unlock(path))
	} else if err := s.Unlock(path); !errors.Is(err, ErrLockNotFound) {
		t.Errorf("GetAndLock found nothing and left a lock: %v", err)
	}
	objects, err := s.GetList(list)
	has("GetList", objects, err)
	objects, err = s.GetListDescending(list)
	has("GetListDescending", objects, err)
	objects, err = s.GetN(list, 3)
	has("GetN", objects, err)
	objects, err = s.GetNAscending("*/"+list[strings.IndexByte(list, '/')+1:], 0)
	has("GetNAscending", objects, err)
	objects, err = s.GetNRange(list, 5, math.MinInt64, math.MaxInt64)
	has("GetNRange", objects, err)
	paths, err := s.KeysRange(list, math.MinInt64, math.MaxInt64)
	hasPath("KeysRange", paths, err)
	paths, err = s.Keys()
	hasPath("Keys", paths, err)
	n, err := s.Count(list)
	must(t, err)
	if n > 0 {
		reads = append(reads, "Count")
	}
	page, err := s.Page(list, ListOptions{})
	has("Page", page.Objects, err)
	for obj, err := range s.Iterate(list, ListOptions{Descending: true}) {
		has("Iterate", []meta.Object{obj}, err)
	}
	dirs, err := s.Directories("")
	must(t, err)
	if slices.ContainsFunc(dirs, func(d Directory) bool { return d.Name == path[:strings.IndexByte(path, '/')] }) {
		reads = append(reads, "Directories")
	}
	return reads
}

const allReads = 13

// An object is in every read to the last nanosecond, and in none from its end on, even before its
// removal could be made.
func TestExpiredAtItsVeryInstant(t *testing.T) {
	inBubble(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		set(t, s, "other", "1")
		setTTL(t, s, "d/e/a", time.Minute)
		time.Sleep(time.Minute - 1)
		if reads := showing(t, s, "d/e/a"); len(reads) != allReads {
			t.Errorf("before its end it is in %q only", reads)
		}
		// The removal waits at the layer, or, in memory, in the pipeline.
		g := newGate()
		hold := func() error { g.pass(); return nil }
		fake.onCall(func(method, _ string) error {
			if method == "Commit" || method == "Del" {
				return hold()
			}
			return nil
		})
		if !k.persistent {
			go func() {
				err := s.run.Load().commit(&write{op: opInstant, instant: func(uint64) { g.pass() }})
				if err != nil {
					t.Error(err)
				}
			}()
		}
		time.Sleep(1)
		if reads := showing(t, s, "d/e/a"); len(reads) != 0 {
			t.Errorf("at its end it is in %q", reads)
		}
		<-g.arrived
		close(g.open)
		synctest.Wait()
		if reads := showing(t, s, "d/e/a"); len(reads) != 0 {
			t.Errorf("once removed it is in %q", reads)
		}
		if _, there := fake.content()["d/e/a"]; there {
			t.Error("it is still in the layer")
		}
		if n := s.Stats().Objects; !k.fromLayer && n != 1 {
			t.Errorf("memory holds %d objects, want the other one", n)
		}
		expect(t, s, "other", "1")
	})
}

// The removal is a change like any other: it has a place in the order, it is durable, and its event has the object.
func TestExpiryIsAChange(t *testing.T) {
	var written hooks
	inBubble(t, Options{AfterWrite: written.run}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		var seen tape
		s.Watch(seen.record)
		sharded := s.WatchSharded()
		obj := setTTL(t, s, "a", time.Second)
		if want := time.Now().Add(time.Second).UnixNano(); obj.Expires != want {
			t.Errorf("Expires is %d, want %d", obj.Expires, want)
		}
		written.paths()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := s.Stats().Revision; got != obj.Revision+1 {
			t.Errorf("after the removal the revision is %d, want %d", got, obj.Revision+1)
		}
		set(t, s, "a", "2")
		synctest.Wait()
		if got, want := seen.lines(), []string{"set a 1", "del a 1", "set a 2"}; !slices.Equal(got, want) {
			t.Fatalf("saw %q, want %q", got, want)
		}
		if removed := seen.events[1].Object; !same(*removed, obj) {
			t.Errorf("the event has %s, want %s", show(*removed), show(obj))
		}
		if n := len(sharded.Shard(sharded.ShardFor("a"))); n != 3 {
			t.Errorf("the channel has %d events, want 3", n)
		}
		if now := object(t, s, "a"); now.Revision != obj.Revision+2 || now.Expires != 0 || now.Updated != 0 {
			t.Errorf("after the removal a set stored %s, want a new object", show(now))
		}
		if paths := written.paths(); !slices.Equal(paths, []string{"a"}) {
			t.Errorf("AfterWrite ran for %q, want for the set only", paths)
		}
	})
}

// Every write says anew whether and when an object expires.
func TestWritesEndOrRenewATimeToLive(t *testing.T) {
	with := func(opt SetOptions) func(s *Layered) error {
		return func(s *Layered) error { _, err := s.SetWith("d/a", json.RawMessage("2"), opt); return err }
	}
	never := time.Duration(0)
	tests := []struct {
		name  string
		write func(s *Layered) error
		lives time.Duration // from the write on
	}{
		{"set", func(s *Layered) error { return second(s.Set("d/a", json.RawMessage("2"))) }, never},
		{"set with meta", func(s *Layered) error { return second(s.SetWithMeta("d/a", json.RawMessage("2"), 1, 2)) }, never},
		{"set and unlock", func(s *Layered) error {
			return errors.Join(s.Lock("d/a"), second(s.SetAndUnlock("d/a", json.RawMessage("2"))))
		}, never},
		{"set with no TTL", with(SetOptions{}), never},
		{"a longer TTL", with(SetOptions{TTL: time.Hour}), time.Hour},
		{"a shorter TTL", with(SetOptions{TTL: time.Second}), time.Second},
		{"the longest TTL", with(SetOptions{TTL: math.MaxInt64}), never},
		{"an end", func(s *Layered) error {
			return with(SetOptions{Expires: time.Now().Add(time.Hour).UnixNano()})(s)
		}, time.Hour},
		{"the last end", with(SetOptions{Expires: math.MaxInt64}), never},
		{"delete and set", func(s *Layered) error { return errors.Join(s.Del("d/a"), with(SetOptions{})(s)) }, never},
		{"glob delete and set", func(s *Layered) error { return errors.Join(s.Del("d/*"), with(SetOptions{})(s)) }, never},
		{"clear and set", func(s *Layered) error { return errors.Join(s.Truncate(), with(SetOptions{TTL: time.Hour})(s)) }, time.Hour},
		{"update", func(s *Layered) error { _, err := s.Update("d/a", increment); return err }, time.Minute - 10*time.Second},
	}
	inBubble(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		for _, test := range tests {
			setTTL(t, s, "d/a", time.Minute)
			time.Sleep(10 * time.Second)
			must(t, test.write(s))
			lives := test.lives
			if lives == never {
				lives = 1000 * time.Hour
			}
			time.Sleep(lives - 1)
			synctest.Wait()
			if _, err := s.Get("d/a"); err != nil {
				t.Errorf("%s: gone too early: %v", test.name, err)
			}
			time.Sleep(1)
			synctest.Wait()
			if _, err := s.Get("d/a"); (err != nil) != (test.lives != never) {
				t.Errorf("%s: %v after %v of a life", test.name, err, lives)
			}
			if test.lives == never {
				must(t, s.Del("d/a"))
			}
			if _, there := fake.content()["d/a"]; there {
				t.Errorf("%s: it is still in the layer", test.name)
			}
			if n := noted(s); n != 0 {
				t.Errorf("%s: %d objects are noted to expire", test.name, n)
			}
		}
	})
}

// What expires is kept over a restart, and what expired while the store was closed is gone and is removed.
func TestExpiryOverARestart(t *testing.T) {
	inBubble(t, Options{}, persistent, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		long, short := setTTL(t, s, "d/long", time.Hour), setTTL(t, s, "d/short", time.Minute)
		set(t, s, "d/stays", "1")
		s.Close()
		time.Sleep(10 * time.Minute)
		if len(fake.content()) != 3 {
			t.Fatal("a closed store removed something")
		}
		must(t, s.Start(Options{}))
		var seen tape
		s.Watch(seen.record)
		if got := object(t, s, "d/long"); !same(got, long) {
			t.Errorf("after a restart there is %s, want %s", show(got), show(long))
		}
		if keys, err := s.Keys(); err != nil || !slices.Equal(keys, []string{"d/long", "d/stays"}) {
			t.Errorf("Keys = %q, %v", keys, err)
		}
		expect(t, s, "d/short", "")
		synctest.Wait()
		if _, there := fake.content()["d/short"]; there {
			t.Error("what expired while the store was closed is still in the layer")
		}
		time.Sleep(50 * time.Minute)
		if n, err := s.Count("d/*"); n != 1 || err != nil {
			t.Errorf("Count = %d, %v at the end of the other one", n, err)
		}
		synctest.Wait()
		if _, there := fake.content()["d/long"]; there {
			t.Error("the other one is still in the layer")
		}
		if lines := seen.lines(); !slices.Contains(lines, "del d/long 1") {
			t.Errorf("saw %q, want the delete of d/long", lines)
		}
		if short.Revision >= s.Stats().Revision {
			t.Errorf("the removal has revision %d, after %d", s.Stats().Revision, short.Revision)
		}
	})
}

// A write over an expired object that is not removed yet finds nothing there.
func TestWritesOverAnExpiredObject(t *testing.T) {
	inBubble(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		writes := []struct {
			name  string
			write func() error
			want  error
		}{
			{"set", setting(s, "a", "2"), nil},
			{"set if absent", func() error { _, err := s.SetWith("a", json.RawMessage("2"), SetOptions{IfAbsent: true}); return err }, nil},
			{"set of its revision", func() error {
				_, err := s.SetWith("a", json.RawMessage("2"), SetOptions{IfRevision: s.Stats().Revision})
				return err
			}, ErrConflict},
			{"delete", deleting(s, "a"), ErrNotFound},
			{"update", func() error {
				_, err := s.Update("a", func(old meta.Object) (json.RawMessage, error) {
					if old.Data != nil || old.Revision != 0 {
						t.Errorf("an update of an expired object got %s", show(old))
					}
					return json.RawMessage("2"), nil
				})
				return err
			}, nil},
			{"set of an expired one", func() error { _, err := s.SetWith("a", json.RawMessage("2"), SetOptions{Expires: 1}); return err }, nil},
		}
		for _, w := range writes {
			end := time.Now().Add(time.Second).UnixNano()
			old, err := s.SetWith("a", json.RawMessage("1"), SetOptions{Expires: end})
			must(t, err)
			s.run.Load().expirer.drop("a") // nothing removes it
			time.Sleep(time.Second)
			if err := w.write(); !errors.Is(err, w.want) || w.want == nil && err != nil {
				t.Errorf("%s = %v, want %v", w.name, err, w.want)
			}
			synctest.Wait()
			now, err := s.Get("a")
			if stored := w.want == nil && w.name != "set of an expired one"; stored != (err == nil) {
				t.Errorf("%s: then there is %v, %v", w.name, now, err)
			} else if stored && (now.Created == old.Created || now.Updated != 0) {
				t.Errorf("%s stored %s over %s, want a new object", w.name, show(now), show(old))
			}
			if w.want == nil && err == nil {
				must(t, s.Del("a"))
			}
		}
	})
}

// An object that is born expired never shows, and is removed, whatever is under way.
func TestBornExpired(t *testing.T) {
	inBubble(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		var seen tape
		s.Watch(seen.record)
		for i := range 20 {
			_, err := s.SetWith("d/a", json.RawMessage("1"), SetOptions{Expires: int64(i + 1)})
			must(t, err)
			if reads := showing(t, s, "d/a"); len(reads) != 0 {
				t.Fatalf("an object that was born expired is in %q", reads)
			}
		}
		synctest.Wait()
		if len(fake.content()) != 0 {
			t.Error("it is still in the layer")
		}
		if lines := seen.lines(); lines[0] != "set d/a 1" || lines[len(lines)-1] != "del d/a 1" {
			t.Errorf("saw %q, want sets and deletes", lines)
		}
	})
}

// The removal of an object whose write is in its sync waits behind it.
func TestExpiryBehindAGroupInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsyncStore(t)
		first := a.begin(func() error {
			_, err := a.SetWith("b", json.RawMessage("1"), SetOptions{Expires: 1})
			return err
		})
		expiry := a.begin(func() error { return a.run.Load().removeAll(opExpire, []string{"b"}) })
		first.end <- nil
		expiry.end <- nil
		a.layer.sync = nil
		a.group.Wait()
		synctest.Wait()
		if _, there := a.layer.content()["b"]; there {
			t.Error("it is still in the layer")
		}
		must(t, errors.Join(<-first.answer, <-expiry.answer))
	})
}

// A removal that a renewal overtakes does not happen.
func TestRenewalBeforeTheRemoval(t *testing.T) {
	inBubble(t, Options{}, queueing, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		var seen tape
		s.Watch(seen.record)
		setTTL(t, s, "a", time.Minute)
		setTTL(t, s, "b", time.Minute)
		time.Sleep(time.Minute - 1)
		// The leader waits while the end comes. The renewal is behind it, and the removal behind that.
		g := newGate()
		go func() {
			if err := s.run.Load().commit(&write{op: opInstant, instant: func(uint64) { g.pass() }}); err != nil {
				t.Error(err)
			}
		}()
		<-g.arrived
		go setTTL(t, s, "a", time.Hour)
		synctest.Wait()
		time.Sleep(1)
		synctest.Wait()
		close(g.open)
		synctest.Wait()
		if obj := object(t, s, "a"); obj.Updated != 0 {
			t.Errorf("the renewal came after the end: %s, want a new object", show(obj))
		}
		expect(t, s, "b", "")
		time.Sleep(time.Hour)
		synctest.Wait()
		if got, want := seen.lines(), []string{"set a 1", "set b 1", "set a 1", "del b 1", "del a 1"}; !slices.Equal(got, want) {
			t.Errorf("saw %q, want %q", got, want)
		}
	})
}

// Many objects that expire at once are removed in few commits.
func TestManyExpireAtOnce(t *testing.T) {
	const n = 2500
	inBubble(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		for i := range n {
			_, err := s.SetWith(fmt.Sprintf("d%d/%d", i%3, i), json.RawMessage("1"), SetOptions{Expires: time.Now().Add(time.Minute).UnixNano()})
			must(t, err)
		}
		set(t, s, "d1/stays", "1")
		commits := len(fake.commits())
		time.Sleep(time.Minute)
		if count, err := s.Count("*/*"); count != 1 || err != nil {
			t.Errorf("Count = %d, %v at their end", count, err)
		}
		synctest.Wait()
		if left := len(fake.content()); k.persistent && left != 1 {
			t.Errorf("%d objects are left in the layer", left)
		}
		if got := len(fake.commits()) - commits; k.persistent && k.batches && (got < 3 || got > 6) {
			t.Errorf("the removal of %d objects took %d commits, want few of 1000 at most", n, got)
		}
		if noted(s) != 0 {
			t.Errorf("%d objects are noted to expire", noted(s))
		}
	})
}
