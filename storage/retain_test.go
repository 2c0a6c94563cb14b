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
