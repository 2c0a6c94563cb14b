package storage

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// TestStats holds all figures of a store of each kind against what was done to it.
func TestStats(t *testing.T) {
	for _, test := range []struct {
		name   string
		config func() LayeredConfig
		want   Stats
	}{
		{"memory", func() LayeredConfig { return LayeredConfig{Memory: NewMemoryLayer()} },
			Stats{InMemory: true, Objects: 4, Directories: 4, DataBytes: 8}},
		{"memory over a layer", func() LayeredConfig {
			return LayeredConfig{Memory: NewMemoryLayer(), Embedded: newFakeBatcher()}
		}, Stats{InMemory: true, Persistent: true, Objects: 4, Directories: 4, DataBytes: 8}},
		{"cache over a layer", func() LayeredConfig {
			return LayeredConfig{Memory: NewMemoryLayer(), MemoryOptions: LayerOptions{SkipLoadMemory: true}, Embedded: newFakeBatcher()}
		}, Stats{InMemory: true, Cached: true, Persistent: true, CacheLimit: 64 << 20}},
		{"a layer alone", func() LayeredConfig { return LayeredConfig{Embedded: newFakeBatcher()} },
			Stats{Persistent: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, test.config(), Options{Retention: []Retention{{Pattern: "limited/*", Count: 1}}})
			set(t, s, "a/1", "1")
			set(t, s, "a/1", "22")
			set(t, s, "limited/1", "1")
			set(t, s, "limited/2", "1") // a change more: what is too many goes
			var batch Batch
			batch.Set("b/c/1", []byte("333"))
			batch.SetWith("b/c/2", []byte("44"), SetOptions{TTL: time.Hour})
			batch.Set("b/c/3", []byte("5"))
			if _, err := s.Commit(&batch); err != nil {
				t.Fatal(err)
			}
			if _, err := s.SetWith("a/1", []byte("1"), SetOptions{IfAbsent: true}); !errors.Is(err, ErrConflict) {
				t.Fatal(err)
			}
			must(t, s.Del("b/c/3"))
			must(t, s.Del("none/*"))
			must(t, s.Lock("a/1"))
			must(t, s.Lock("a/2"))
			must(t, s.Unlock("a/2"))

			got, want := s.Stats(), test.want
			want.Active, want.Expiring, want.Locks = true, 1, 1
			want.Commits, want.Changes, want.Revision = 7, 9, 9 // a glob that matches nothing changes nothing
			if got.Commit.Count != want.Commits && want.Persistent || got.Commit.Count == 0 {
				t.Errorf("%d commits were measured, want all %d, or one of eight in memory", got.Commit.Count, want.Commits)
			}
			if (got.Persist.Count != 0) != want.Persistent {
				t.Errorf("%d calls of the layer were measured", got.Persist.Count)
			}
			got.Commit, got.Persist = Latencies{}, Latencies{}
			if got != want {
				t.Errorf("the figures are\n%+v, want\n%+v", got, want)
			}
			s.Clear()
			if got := s.Stats(); got.Objects != 0 || got.DataBytes != 0 || got.Directories != 0 || got.Changes != 10 || got.Expiring != 0 {
				t.Errorf("after a clear: %+v", got)
			}
			s.Close()
			if got := s.Stats(); got != (Stats{}) {
				t.Errorf("of a closed store: %+v, want nothing", got)
			}
			must(t, s.Start(Options{}))
			if got := s.Stats(); got.Commits != 0 || got.Changes != 0 || got.Revision == 0 {
				t.Errorf("after another start: %+v, want counters at zero and the revision", got)
			}
		})
	}
}

// TestStatsOfAStoreThatStopped shows why it takes no writes.
func TestStatsOfAStoreThatStopped(t *testing.T) {
	layer := newFakeBatcher()
	s := withLayer(t, layer)
	set(t, s, "a", "1")
	if got := s.Stats().WritesStopped; got != nil {
		t.Errorf("before: %v", got)
	}
	gone := errors.New("the disk is gone")
	layer.commit = func([]Change) error { return gone }
	if _, err := s.Set("a", []byte("2")); !errors.Is(err, gone) {
		t.Fatal(err)
	}
	got := s.Stats()
	if !errors.Is(got.WritesStopped, ErrWritesStopped) || !errors.Is(got.WritesStopped, gone) {
		t.Errorf("writes are stopped by %v, want %v", got.WritesStopped, gone)
	}
	if got.Commits != 1 || got.Changes != 1 || got.Persist.Count != 2 {
		t.Errorf("%d commits with %d changes in %d calls of the layer, want 1 with 1 in 2", got.Commits, got.Changes, got.Persist.Count)
	}
}

// TestStatsOfTheCache counts the reads that memory answered, and those that it did not.
func TestStatsOfTheCache(t *testing.T) {
	layer := newFakeBatcher()
	layer.objects["a"], layer.objects["b"] = inUse("a"), inUse("b")
	s := start(t, LayeredConfig{Memory: NewMemoryLayer(), MemoryOptions: LayerOptions{SkipLoadMemory: true}, Embedded: layer}, Options{})
	for range 3 {
		expect(t, s, "a", "1")
		expect(t, s, "none", "")
	}
	if _, err := s.GetAndLock("b"); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.CacheHits != 2 || got.CacheMisses != 5 {
		t.Errorf("%d hits and %d misses, want 2 and 5", got.CacheHits, got.CacheMisses)
	}
}

// asyncFake is a fakeBatcher whose batches are durable a while after they are ordered.
type asyncFake struct {
	*fakeBatcher
	sync time.Duration
}

func (f *asyncFake) CommitAsync(changes []Change) (func() error, error) {
	if err := f.Commit(changes); err != nil {
		return nil, err
	}
	return func() error { time.Sleep(f.sync); return nil }, nil
}

// TestLatencies has a layer that takes its time.
func TestLatencies(t *testing.T) {
	for name, layer := range map[string]func() EmbeddedLayer{
		"batches": func() EmbeddedLayer {
			f := newFakeBatcher()
			f.commit = func([]Change) error { time.Sleep(10 * time.Millisecond); return nil }
			return f
		},
		"batches that overlap": func() EmbeddedLayer { return &asyncFake{newFakeBatcher(), 10 * time.Millisecond} },
		"single writes": func() EmbeddedLayer {
			f := newFake()
			f.before = func(method, _ string) error {
				if method == "Set" || method == "Del" || method == "Clear" {
					time.Sleep(10 * time.Millisecond)
				}
				return nil
			}
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := withLayer(t, layer())
				for range 5 {
					set(t, s, "a/1", "1")
				}
				must(t, s.Del("a/*"))
				set(t, s, "a/1", "1")
				must(t, s.Truncate())
				got := s.Stats()
				for name, l := range map[string]Latencies{"commit": got.Commit, "persist": got.Persist} {
					// A batch that overlaps others is one of known keys: a glob delete and a clear took no time.
					want := 80 * time.Millisecond
					if _, async := s.cfg.Embedded.(*asyncFake); async {
						want = 60 * time.Millisecond
					}
					if l.Count != 8 || l.Sum != want || l.Quantile(0.5) < 10*time.Millisecond || l.Quantile(0.5) > 20*time.Millisecond {
						t.Errorf("%s: %d times %v, half of them up to %v, want 8 times %v", name, l.Count, l.Sum, l.Quantile(0.5), want)
					}
				}
			})
		})
	}
}

func TestQuantile(t *testing.T) {
	ten := Latencies{Count: 10}
	ten.Buckets[0], ten.Buckets[3], ten.Buckets[LatencyBuckets-1] = 5, 4, 1
	for _, test := range []struct {
		l     Latencies
		share float64
		want  time.Duration
	}{
		{Latencies{}, 0.5, 0},
		{ten, 0, 256},
		{ten, 0.5, 256},
		{ten, 0.51, 2048},
		{ten, 0.9, 2048},
		{ten, 0.91, math.MaxInt64},
		{ten, 1, math.MaxInt64},
	} {
		if got := test.l.Quantile(test.share); got != test.want {
			t.Errorf("quantile %v of %v: %v, want %v", test.share, test.l.Buckets, got, test.want)
		}
	}
}

// BenchmarkMeasuring tells what the measurements cost a commit: of a store in memory, and of one over a layer.
func BenchmarkMeasuring(b *testing.B) {
	for name, r := range map[string]*run{"memory": {}, "layer": {layer: newFakeBatcher()}} {
		b.Run(name, func(b *testing.B) {
			r.timing.born = time.Now()
			for b.Loop() {
				r.committedSince(r.stopwatch())
			}
		})
	}
}

// BenchmarkSetWithAllOn overwrites an object in a store that has all that a write can meet: retention, a
// time to live, a watcher, channels, a subscription.
func BenchmarkSetWithAllOn(b *testing.B) {
	s := start(b, LayeredConfig{Memory: NewMemoryLayer()}, Options{
		Retention:       []Retention{{Pattern: "cities/*", Count: 1000, Age: time.Hour}, {Pattern: "others/*/*", Age: time.Hour}},
		NoBroadcastKeys: []string{"hidden/*"},
		AfterWrite:      func(string) {},
	})
	s.Watch(func(Event) {})
	WatchStorageNoop(s)
	sub, err := s.Subscribe(b.Context(), "cities/*", SubscribeOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer sub.Close()
	go func() {
		for _, err := range sub.All(b.Context()) {
			if err != nil {
				return
			}
		}
	}()
	for _, path := range []string{"plain/1", "cities/1"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Set(path, cityData); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
