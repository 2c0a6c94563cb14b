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

func push(t testing.TB, s *Layered, pattern, data string) string {
	t.Helper()
	index, err := s.Push(pattern, json.RawMessage(data))
	if err != nil {
		t.Error(err)
	}
	return index
}

// wantData verifies the data of a list, oldest first, by all reads that count.
func wantData(t testing.TB, s *Layered, pattern, want string) {
	t.Helper()
	list, err := s.GetList(pattern)
	must(t, err)
	var data []string
	for _, obj := range list {
		data = append(data, string(obj.Data))
	}
	if got := strings.Join(data, " "); got != want {
		t.Errorf("%s holds %s, want %s", pattern, got, want)
	}
	if n, err := s.Count(pattern); n != len(list) || err != nil {
		t.Errorf("Count of %s = %d, %v, the list has %d", pattern, n, err, len(list))
	}
}

// checkLayer verifies that the layer holds what the store shows.
func checkLayer(t testing.TB, k kind, s *Layered, fake *fakeBatcher) {
	t.Helper()
	if keys, err := s.Keys(); k.persistent && len(fake.content()) != len(keys) || err != nil {
		t.Errorf("the layer holds %d objects, the store shows %d, %v", len(fake.content()), len(keys), err)
	}
}

func TestRetentionByCount(t *testing.T) {
	options := Options{Retention: []Retention{{Pattern: "logs/*", Count: 3}}}
	each(t, options, batching, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		var seen tape
		s.Watch(seen.record)
		for i := range 5 {
			push(t, s, "logs/*", fmt.Sprint(i))
			push(t, s, "other/*", "9")
		}
		wantData(t, s, "logs/*", "2 3 4")
		if n, err := s.Count("other/*"); n != 5 || err != nil {
			t.Errorf("a list without a rule holds %d, %v, want 5", n, err)
		}
		checkLayer(t, k, s, fake)
		steps := []struct {
			name  string
			write func() error
			want  string
		}{
			{"an overwrite adds nothing", func() error {
				list, err := s.GetList("logs/*")
				return errors.Join(err, second(s.Set(list[0].Path, json.RawMessage("20"))))
			}, "20 3 4"},
			{"an older object goes at once", func() error { return second(s.SetWithMeta("logs/old", json.RawMessage("-1"), 5, 5)) }, "20 3 4"},
			{"a newer one takes the place of the oldest", setting(s, "logs/a", "5"), "3 4 5"},
			{"a move in time keeps the count", func() error { return second(s.SetWithMeta("logs/a", json.RawMessage("6"), 1, 1)) }, "6 3 4"},
			{"the one that was moved is the oldest", setting(s, "logs/b", "7"), "3 4 7"},
			{"a delete makes room", deleting(s, "logs/b"), "3 4"},
			{"which is used", setting(s, "logs/c", "8"), "3 4 8"},
			{"a batch that is longer than the list", committing(s, func(b *Batch) {
				for i := range 5 {
					b.Push("logs/*", json.RawMessage(fmt.Sprint(10+i)))
				}
			}), "12 13 14"},
			{"a batch that adds and removes", committing(s, func(b *Batch) {
				list, _ := s.GetList("logs/*")
				b.Del(list[2].Path)
				b.Set("logs/d", json.RawMessage("15"))
			}), "12 13 15"},
			{"a batch that overwrites the oldest and adds", committing(s, func(b *Batch) {
				list, _ := s.GetList("logs/*")
				b.Set(list[0].Path, json.RawMessage("120"))
				b.Set("logs/e", json.RawMessage("16"))
			}), "13 15 16"},
			{"a batch that moves the newest to the front and adds", committing(s, func(b *Batch) {
				b.SetWith("logs/e", json.RawMessage("160"), SetOptions{Times: &Times{1, 1}})
				b.Set("logs/f", json.RawMessage("17"))
			}), "13 15 17"},
			{"a batch that fails", func() error {
				err := committing(s, func(b *Batch) {
					b.Set("logs/g", json.RawMessage("18"))
					b.Del("none")
				})()
				if !errors.Is(err, ErrNotFound) {
					return fmt.Errorf("it did not: %w", err)
				}
				return nil
			}, "13 15 17"},
			{"an update that adds", func() error { _, err := s.Update("logs/h", increment); return err }, "15 17 1"},
			{"a glob delete", deleting(s, "logs/*"), ""},
			{"a fresh start", setting(s, "logs/a", "1"), "1"},
			{"a clear", func() error { s.Clear(); return nil }, ""},
			{"and again", committing(s, func(b *Batch) {
				for i := range 4 {
					b.Set(fmt.Sprintf("logs/%d", i), json.RawMessage(fmt.Sprint(i)))
				}
			}), "1 2 3"},
		}
		for _, step := range steps {
			must(t, step.write())
			wantData(t, s, "logs/*", step.want)
			checkLayer(t, k, s, fake)
			if t.Failed() {
				t.Fatalf("after: %s", step.name)
			}
		}
		if k.persistent {
			restart(t, s)
			wantData(t, s, "logs/*", "1 2 3")
			push(t, s, "logs/*", "4")
			wantData(t, s, "logs/*", "2 3 4")
		}
	})
}

// Each removal is an event with the object that was removed, behind what made the list too long, in
// the same commit of the layer, and a revision of its own.
func TestRetentionIsAChange(t *testing.T) {
	var written hooks
	options := Options{Retention: []Retention{{Pattern: "l/*", Count: 2}}, AfterWrite: written.run, NoBroadcastKeys: []string{"l/hidden"}}
	inBubble(t, options, batching, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		written.paths()
		var seen tape
		s.Watch(seen.record)
		set(t, s, "l/a", "1")
		set(t, s, "l/hidden", "2")
		set(t, s, "l/c", "3")
		set(t, s, "l/d", "4")
		must(t, second(s.SetWithMeta("l/e", json.RawMessage("5"), 1, 1)))
		must(t, committing(s, func(b *Batch) {
			b.Set("l/f", json.RawMessage("6"))
			b.Set("m/a", json.RawMessage("7"))
		})())
		synctest.Wait()
		want := []string{"set l/a 1", "set l/c 3", "del l/a 1", "set l/d 4", "set l/e 5", "del l/e 5", "set l/f 6", "set m/a 7", "del l/c 3"}
		if got := seen.lines(); !slices.Equal(got, want) {
			t.Errorf("saw %q\nwant %q", got, want)
		}
		if k.persistent {
			if got := fake.commits(); !slices.Equal(got, []int{1, 1, 2, 2, 2, 3}) {
				t.Errorf("the commits had %v changes", got)
			}
		}
		if got := s.Stats().Revision; got != 11 {
			t.Errorf("the revision is %d after 7 writes and 4 removals", got)
		}
		if paths := written.paths(); len(paths) != 7 || slices.Contains(paths[5:], "l/c") {
			t.Errorf("AfterWrite ran for %q, want for the writes only", paths)
		}
	})
}

// Whatever many goroutines push and delete, no reader ever sees more than the limit in a directory,
// and the newest are there in the end.
func TestNoReaderSeesMoreThanTheCount(t *testing.T) {
	const limit, goroutines = 10, 4
	rounds := 200
	if testing.Short() {
		rounds = 50
	}
	options := Options{Retention: []Retention{{Pattern: "d/*/l/*", Count: limit}, {Pattern: "d/1/l/*", Age: time.Hour}}}
	each(t, options, batching, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		var done atomic.Bool
		var readers, writers sync.WaitGroup
		readers.Go(func() {
			for !done.Load() && !t.Failed() {
				n, err := s.Count("d/1/l/*")
				list, e := s.GetList("d/1/l/*")
				all, e2 := s.GetN("d/*/l/*", 0)
				page, e3 := s.Page("d/2/l/*", ListOptions{Limit: 100})
				if err := errors.Join(err, e, e2, e3); err != nil {
					t.Error(err)
				}
				per := make(map[string]int)
				for _, obj := range all {
					per[obj.Path[:3]]++
				}
				if n > limit || len(list) > limit || per["d/1"] > limit || per["d/2"] > limit || len(page.Objects) > limit {
					t.Errorf("a reader saw %d, %d, %v and %d objects, the limit is %d", n, len(list), per, len(page.Objects), limit)
				}
			}
		})
		for g := range goroutines {
			writers.Go(func() {
				for i := range rounds {
					pattern := fmt.Sprintf("d/%d/l/*", i%3)
					switch {
					case i%10 == 7:
						var b Batch
						for range 3 {
							b.Push(pattern, json.RawMessage("1"))
						}
						if _, err := s.Commit(&b); err != nil {
							t.Error(err)
						}
					case i%10 == 8:
						path := fmt.Sprintf("d/%d/l/fix", i%3)
						if _, err := s.SetWith(path, json.RawMessage("1"), SetOptions{TTL: time.Duration(1 + i*1000)}); err != nil {
							t.Error(err)
						}
					case i%10 == 9:
						if err := s.Del(fmt.Sprintf("d/%d/l/fix", i%3)); err != nil && !errors.Is(err, ErrNotFound) {
							t.Error(err)
						}
					case g == 0 && i%50 == 25:
						if err := s.Del("d/2/l/*"); err != nil {
							t.Error(err)
						}
					default:
						push(t, s, pattern, "1")
					}
				}
			})
		}
		writers.Wait()
		done.Store(true)
		readers.Wait()
		var newest []string
		for i := range limit {
			newest = append(newest, push(t, s, "d/1/l/*", fmt.Sprint(i)))
		}
		var got []string
		list, err := s.GetList("d/1/l/*")
		must(t, err)
		for _, obj := range list {
			got = append(got, obj.Index)
		}
		if !slices.Equal(got, newest) {
			t.Errorf("left are %q, want the newest, %q", got, newest)
		}
	})
}

// A list that is longer than its limit when the store starts is cut then, to its newest, in every
// directory and by each rule.
func TestStartWithALongerList(t *testing.T) {
	rules := []Retention{
		{Pattern: "d/*/l/*", Count: 3},
		{Pattern: "d/2/l/*", Count: 1},
		{Pattern: "d/*/l/*", Count: 50},
	}
	for _, k := range kinds() {
		if !k.persistent || !k.batches {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			fake := newFakeBatcher()
			s := start(t, k.over(fake), Options{})
			for i := range 6 {
				for dir := range 3 {
					// The newest have names that come first.
					path := fmt.Sprintf("d/%d/l/%d", dir, 9-i)
					must(t, second(s.SetWithMeta(path, json.RawMessage(fmt.Sprint(i)), int64(i), 0)))
				}
			}
			set(t, s, "d/1/l", "1")
			set(t, s, "d/1/l/x/y", "1")
			last := s.Stats().Revision
			s.Close()
			must(t, s.Start(Options{Retention: rules}))
			wantData(t, s, "d/0/l/*", "3 4 5")
			wantData(t, s, "d/1/l/*", "3 4 5")
			wantData(t, s, "d/2/l/*", "5")
			wantData(t, s, "d/*/l", "1")
			checkLayer(t, k, s, fake)
			if got := s.Stats().Revision; got != last+11 {
				t.Errorf("after the start the revision is %d, want %d and one for each removal", got, last)
			}
			push(t, s, "d/2/l/*", "6")
			wantData(t, s, "d/2/l/*", "6")
			restart(t, s) // the options of New: without rules
			set(t, s, "d/2/l/z", "7")
			wantData(t, s, "d/2/l/*", "6 7")
		})
	}
}

// A start that cannot cut a list fails, and leaves the layer closed.
func TestStartThatCannotCutAList(t *testing.T) {
	fake := newFakeBatcher()
	for i := range 3 {
		fake.objects[numbered(i)] = inUse(numbered(i))
	}
	fake.onCommit(func([]Change) error { return &EntryError{Err: errors.New("read only")} })
	s := New(LayeredConfig{Memory: NewMemoryLayer(), Embedded: fake}, Options{Retention: []Retention{{Pattern: "k/*", Count: 1}}})
	if err := s.Start(Options{}); err == nil || !strings.Contains(err.Error(), "read only") || !strings.Contains(err.Error(), `"k/*"`) {
		t.Errorf("Start = %v", err)
	}
	if s.Active() || fake.Active() {
		t.Error("after a failed start something is open")
	}
	fake.onCommit(nil)
	must(t, s.Start(Options{}))
	if n, err := s.Count("k/*"); n != 1 || err != nil {
		t.Errorf("Count = %d, %v", n, err)
	}
	s.Close()
}

func TestInvalidRetention(t *testing.T) {
	tests := []struct {
		name string
		rule Retention
		want error
		says string
	}{
		{"no pattern", Retention{Count: 1}, ErrInvalidPath, "empty"},
		{"invalid pattern", Retention{Pattern: "a//*", Count: 1}, ErrInvalidPath, `"a//*"`},
		{"path", Retention{Pattern: "a/b", Count: 1}, ErrInvalidPattern, `"a/b"`},
		{"glob in the middle", Retention{Pattern: "a/*/b", Count: 1}, ErrInvalidPattern, "last segment"},
		{"part of a segment", Retention{Pattern: "a/b*", Age: 1}, ErrInvalidPattern, "last segment"},
		{"negative count", Retention{Pattern: "a/*", Count: -1}, ErrInvalidLimit, "-1"},
		{"negative age", Retention{Pattern: "a/*", Age: -time.Second}, ErrInvalidTTL, "-1s"},
	}
	for _, test := range tests {
		for _, k := range kinds() {
			s := New(k.over(newFakeBatcher()))
			err := s.Start(Options{Retention: []Retention{{Pattern: "x/*", Age: time.Hour}, test.rule}})
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || s.Active() {
				t.Errorf("%s, %s: Start = %v, want %v that says %s", k.name, test.name, err, test.want, test.says)
			}
			must(t, s.Start(Options{})) // nothing is held open
			s.Close()
		}
	}
	for _, k := range kinds() {
		s := New(k.over(newFakeBatcher()))
		err := s.Start(Options{Retention: []Retention{{Pattern: "a/*", Count: 1}}})
		if k.batches != (err == nil) || !k.batches && !errors.Is(err, ErrBatchUnsupported) {
			t.Errorf("%s: a rule with a count = %v", k.name, err)
		}
		s.Close()
	}
}

// aged stores an object that was created some time ago. Within a bubble the store's own clock is
// another one than the test's.
func aged(t testing.TB, s *Layered, path string, ago time.Duration, opt SetOptions) meta.Object {
	t.Helper()
	opt.Times = &Times{Created: time.Now().Add(-ago).UnixNano()}
	obj, err := s.SetWith(path, json.RawMessage("1"), opt)
	must(t, err)
	return obj
}

func TestRetentionByAge(t *testing.T) {
	options := Options{Retention: []Retention{{Pattern: "l/*", Age: time.Hour}, {Pattern: "l/*", Age: 2 * time.Hour}, {Pattern: "m/*", Age: time.Minute}}}
	inBubble(t, options, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		var seen tape
		s.Watch(seen.record)
		began := time.Now()
		plain := aged(t, s, "l/plain", 0, SetOptions{})
		aged(t, s, "l/short", 0, SetOptions{TTL: time.Minute})
		aged(t, s, "l/long", 0, SetOptions{TTL: 24 * time.Hour})
		aged(t, s, "l/older", 30*time.Minute, SetOptions{})
		aged(t, s, "l/tooold", time.Hour, SetOptions{})
		aged(t, s, "n/plain", 0, SetOptions{})
		if want := began.Add(time.Hour).UnixNano(); plain.Expires != want || object(t, s, "l/plain").Expires != want {
			t.Errorf("Expires is %d, want %d, an hour after Created", plain.Expires, want)
		}
		want := func(after time.Duration, names ...string) {
			t.Helper()
			time.Sleep(time.Until(began.Add(after)))
			var got []string
			list, err := s.GetList("l/*")
			must(t, err)
			for _, obj := range list {
				got = append(got, obj.Index)
			}
			slices.Sort(got)
			if !slices.Equal(got, names) {
				t.Errorf("after %v: %q, want %q", after, got, names)
			}
			synctest.Wait()
			checkLayer(t, k, s, fake)
		}
		want(time.Minute-1, "long", "older", "plain", "short")
		want(time.Minute, "long", "older", "plain")
		_, err := s.Update("l/plain", increment) // keeps its age
		must(t, err)
		must(t, second(s.Set("l/older", json.RawMessage("3"))))
		want(30*time.Minute, "long", "plain")
		want(time.Hour-1, "long", "plain")
		want(time.Hour)
		expect(t, s, "n/plain", "1")
		if lines := seen.lines(); !slices.Contains(lines, "del l/plain 2") || !slices.Contains(lines, "del l/tooold 1") {
			t.Errorf("saw %q", lines)
		}
	})
}

// A rule holds for what was there before it, and no longer than it is there: what the layer keeps is the
// object's own time to live.
func TestAgeThatChangesOverARestart(t *testing.T) {
	rule := func(age time.Duration) Options { return Options{Retention: []Retention{{Pattern: "l/*", Age: age}}} }
	inBubble(t, rule(time.Hour), persistent, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		began := time.Now()
		ends := map[string]time.Duration{"l/plain": 0, "l/updated": 0, "l/own": 24 * time.Hour, "l/ownupdated": 24 * time.Hour, "l/short": time.Minute}
		for path, ttl := range ends {
			aged(t, s, path, 0, SetOptions{TTL: ttl})
		}
		aged(t, s, "l/renewed", 0, SetOptions{TTL: 24 * time.Hour})
		for _, path := range []string{"l/updated", "l/ownupdated"} {
			expect(t, s, path, "1") // a cache holds it now
			for range 2 {
				_, err := s.Update(path, increment)
				must(t, err)
			}
		}
		set(t, s, "l/renewed", "2")
		ends["l/renewed"] = 0
		for path, ttl := range ends {
			want := int64(0)
			if ttl != 0 {
				want = began.Add(ttl).UnixNano()
			}
			if got := fake.content()[path].Expires; got != want {
				t.Errorf("the layer keeps %d as the end of %s, want %d", got, path, want)
			}
		}
		s.Close()
		must(t, s.Start(rule(48*time.Hour)))
		time.Sleep(time.Hour)
		keys, err := s.Keys()
		if want := []string{"l/own", "l/ownupdated", "l/plain", "l/renewed", "l/updated"}; err != nil || !slices.Equal(keys, want) {
			t.Errorf("under a longer age there are %q, %v, want %q", keys, err, want)
		}
		s.Close()
		must(t, s.Start(rule(30*time.Minute)))
		if n, err := s.Count("l/*"); n != 0 || err != nil {
			t.Errorf("under a shorter age there are %d, %v", n, err)
		}
		synctest.Wait()
		if n := len(fake.content()); n != 0 {
			t.Errorf("%d objects are left in the layer", n)
		}
	})
}

// Count and age on one list: what is expired does not count, though it is not removed yet, and costs no
// younger object its place.
func TestCountAndAge(t *testing.T) {
	options := Options{Retention: []Retention{{Pattern: "l/*", Count: 3, Age: time.Hour}}}
	inBubble(t, options, batching, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		for i := range 3 {
			aged(t, s, fmt.Sprintf("l/%d", i), time.Duration(59-i)*time.Minute, SetOptions{})
		}
		wantKeys := func(when string, want ...string) {
			t.Helper()
			keys, err := s.Keys()
			if err != nil || !slices.Equal(keys, want) {
				t.Errorf("%s there are %q, %v, want %q", when, keys, err, want)
			}
		}
		e := &s.run.Load().expirer
		e.mu.Lock()
		e.removing = true // as if a removal took its time: there is no other one
		e.mu.Unlock()
		time.Sleep(time.Minute)
		wantKeys("after a minute", "l/1", "l/2")
		aged(t, s, "l/3", 0, SetOptions{})
		wantKeys("with one more", "l/1", "l/2", "l/3")
		aged(t, s, "l/4", 0, SetOptions{})
		wantKeys("with another one", "l/2", "l/3", "l/4")
		aged(t, s, "l/0", 0, SetOptions{}) // in place of the expired one
		wantKeys("with the first one anew", "l/0", "l/3", "l/4")
		aged(t, s, "l/5", time.Hour, SetOptions{}) // born expired
		wantKeys("with one that is born expired", "l/0", "l/3", "l/4")
		born := func(path string) {
			_, err := s.SetWith(path, json.RawMessage("1"), SetOptions{Expires: 1})
			must(t, err)
		}
		born("l/9")
		wantKeys("with a newer one that is born expired", "l/0", "l/3", "l/4")
		born("l/3")
		wantKeys("with one that is overwritten by an expired one", "l/0", "l/4")
		aged(t, s, "l/3", 0, SetOptions{})
		wantKeys("with one in its place", "l/0", "l/3", "l/4")
		for i := range 100 { // more expired ones elsewhere than the list is long
			setTTL(t, s, fmt.Sprintf("m/%d", i), time.Minute)
		}
		time.Sleep(time.Hour)
		aged(t, s, "l/6", 0, SetOptions{})
		wantKeys("an hour later", "l/6")
		for i := range 3 {
			aged(t, s, fmt.Sprintf("l/n%d", i), 0, SetOptions{})
		}
		wantKeys("with three more", "l/n0", "l/n1", "l/n2")
		e.mu.Lock()
		e.removing, e.next = false, 0
		e.setLocked()
		e.mu.Unlock()
		synctest.Wait()
		checkLayer(t, k, s, fake)
	})
}

// A group whose list cannot be read fails, and what it had staged is forgotten; one whose removal
// is refused is committed, and its list is too long until the next write.
func TestRetentionWhenTheLayerFails(t *testing.T) {
	logger, logged := logs()
	options := Options{Retention: []Retention{{Pattern: "k/*", Count: 2}}, Logger: logger}
	each(t, options, func(k kind) bool { return k.batches && k.persistent }, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		for i := range 2 {
			must(t, second(s.SetWithMeta(numbered(i), json.RawMessage(fmt.Sprint(i)), int64(i+1), 0)))
		}
		if k.fromLayer {
			restart(t, s) // the list has to be read
			var broken atomic.Bool
			broken.Store(true)
			fake.onCall(func(method, path string) error {
				if broken.Load() && (method == "Scan" || method == "GetList" || method == "Get" && path == numbered(1)) {
					return errors.New("broken entry")
				}
				return nil
			})
			three := committing(s, func(b *Batch) {
				b.Set(numbered(2), json.RawMessage("2"))
				b.Set(numbered(3), json.RawMessage("3"))
			})
			for range 2 {
				if err := three(); err == nil || !strings.Contains(err.Error(), "broken entry") || errors.Is(err, ErrWritesStopped) {
					t.Errorf("Commit = %v, want the error of the layer", err)
				}
			}
			broken.Store(false)
			wantData(t, s, "k/*", "0 1")
			if err := deleting(s, numbered(2))(); !errors.Is(err, ErrNotFound) {
				t.Errorf("a delete of what was not written = %v", err)
			}
			set(t, s, numbered(0), "0") // it is there, though its removal was staged
			if obj := object(t, s, numbered(0)); obj.Created != 1 {
				t.Errorf("an overwrite found nothing: %s", show(obj))
			}
		}
		before := len(logged())
		fake.onCommit(func(changes []Change) error {
			for i, c := range changes {
				if c.Object == nil {
					return &EntryError{Index: i, Err: errors.New("cannot delete")}
				}
			}
			return nil
		})
		set(t, s, numbered(4), "4")
		wantData(t, s, "k/*", "0 1 4")
		if text := logged()[before:]; !strings.Contains(text, "longer than its limit") || !strings.Contains(text, "cannot delete") {
			t.Errorf("the log says %s", text)
		}
		fake.onCommit(nil)
		set(t, s, numbered(5), "5")
		wantData(t, s, "k/*", "4 5")
		checkLayer(t, k, s, fake)
	})
}
