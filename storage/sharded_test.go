package storage

import (
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestShardForIsFNV1a(t *testing.T) {
	for _, count := range []int{1, 2, 6, 7, 64} {
		s := NewShardedChan(count)
		defer s.Close()
		for i := range 1000 {
			k := fmt.Sprintf("users/%x/ü", i*i)
			h := fnv.New32a()
			_, _ = h.Write([]byte(k)) // never fails
			if got, want := s.ShardFor(k), int(h.Sum32()%uint32(count)); got != want {
				t.Fatalf("ShardFor(%q) of %d = %d, want %d", k, count, got, want)
			}
		}
	}
}

func TestShardCount(t *testing.T) {
	for given, want := range map[int]int{-3: 6, 0: 6, 1: 1, 9: 9} {
		s := NewShardedChan(given)
		if s.Count() != want {
			t.Errorf("NewShardedChan(%d) has %d shards, want %d", given, s.Count(), want)
		}
		for _, index := range []int{-1, want, want + 100} {
			if s.Shard(index) != nil {
				t.Errorf("Shard(%d) of %d is a channel, want nil", index, want)
			}
		}
		s.Close()
	}
}

// A channel with room gets an event before Send returns, and no goroutine is started.
func TestSendIsDirectWhileThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShardedChan(1)
		for i := range shardBuffer {
			s.Send(numberedEvent("a", i))
			if got := len(s.Shard(0)); got != i+1 {
				t.Fatalf("after %d sends %d events are there", i+1, got)
			}
		}
		if s.shards[0].pumping {
			t.Error("a pump runs for a channel that had room")
		}
		s.Close()
		n := 0
		for e := range s.Shard(0) {
			if int(e.Object.Revision) != n {
				t.Fatalf("event %d came at place %d", e.Object.Revision, n)
			}
			n++
		}
		if n != shardBuffer {
			t.Fatalf("%d events came, want %d", n, shardBuffer)
		}
	})
}

func TestOverflowKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShardedChan(1)
		const n = 10_000
		for i := range n {
			s.Send(numberedEvent(numbered(i%7), i))
		}
		synctest.Wait()
		if got := s.Stats(); got.Queued != n-shardBuffer || got.Coalesced != 0 || got.Dropped != 0 {
			t.Errorf("Stats = %+v, want %d queued", got, n-shardBuffer)
		}
		for i := range n {
			if e := <-s.Shard(0); int(e.Object.Revision) != i {
				t.Fatalf("event %d came at place %d", e.Object.Revision, i)
			}
		}
		synctest.Wait()
		if got := s.Stats(); got != (ShardedStats{}) {
			t.Errorf("Stats of an empty channel = %+v", got)
		}
		s.Close()
	})
}

// A consumer that does not read costs a bounded queue; then the final state arrives.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShardedChan(1)
		const n = 100_000
		for i := range n {
			s.Send(numberedEvent(numbered(i%10), i))
		}
		synctest.Wait()
		stats := s.Stats()
		if stats.Queued > backlogLimit+1 {
			t.Errorf("%d events are queued", stats.Queued)
		}
		if got := shardBuffer + stats.Queued + int(stats.Coalesced); got != n {
			t.Errorf("%d buffered, %+v: %d of %d events are accounted for", shardBuffer, stats, got, n)
		}
		go s.Close()
		var got []Event
		for e := range s.Shard(0) {
			got = append(got, e)
		}
		for i, e := range newestOfEach(got) {
			if int(e.Object.Revision) != n-10+i {
				t.Errorf("the last event of %s is %d, want %d", e.Key, e.Object.Revision, n-10+i)
			}
		}
		if !slices.IsSortedFunc(got, func(a, b Event) int { return int(a.Object.Revision) - int(b.Object.Revision) }) {
			t.Error("events came out of order")
		}
	})
}

// The counts are for ever, however often the queue fills and empties.
func TestCoalescedIsACounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShardedChan(1)
		overload := func() {
			for i := range 3 * backlogLimit {
				s.Send(numberedEvent(numbered(i%10), i))
			}
			synctest.Wait()
		}
		drainAll := func() {
			for len(s.Shard(0)) > 0 {
				<-s.Shard(0)
				synctest.Wait()
			}
		}
		overload()
		first := s.Stats().Coalesced
		drainAll()
		if got := s.Stats(); got.Coalesced != first || got.Queued != 0 {
			t.Errorf("Stats after the queue emptied = %+v, want %d coalesced", got, first)
		}
		for i := range shardBuffer + 1 { // one past the buffer: a new queue
			s.Send(numberedEvent("a", i))
		}
		synctest.Wait()
		if got := s.Stats().Coalesced; got != first {
			t.Errorf("Coalesced went from %d to %d with a new queue", first, got)
		}
		drainAll()
		overload()
		if got := s.Stats().Coalesced; got <= first {
			t.Errorf("Coalesced = %d after one overload, %d after two", first, got)
		}
		drainAll()
		s.Close()
	})
}

func TestConcurrentSenders(t *testing.T) {
	const senders, each = 8, 3000
	s := NewShardedChan(3)
	var sending, receiving sync.WaitGroup
	var received tape
	receiving.Go(func() {
		var shards sync.WaitGroup
		for i := range s.Count() {
			shards.Go(func() {
				for e := range s.Shard(i) {
					received.record(e)
				}
			})
		}
		shards.Wait()
	})
	for g := range senders {
		sending.Go(func() {
			for i := range each {
				s.Send(numberedEvent(numbered(g), i))
			}
		})
	}
	sending.Wait()
	s.Close()
	receiving.Wait()
	next := make(map[string]int)
	for _, e := range received.events {
		if int(e.Object.Revision) < next[e.Key] {
			t.Fatalf("%s: event %d came after %d", e.Key, e.Object.Revision, next[e.Key])
		}
		next[e.Key] = int(e.Object.Revision) + 1
	}
	for g := range senders {
		if next[numbered(g)] != each {
			t.Errorf("%s ends with event %d, want %d", numbered(g), next[numbered(g)]-1, each-1)
		}
	}
	if got := len(received.events) + int(s.Stats().Coalesced); got != senders*each {
		t.Errorf("%d events came or were coalesced, want %d", got, senders*each)
	}
}

func TestCloseWhileSending(t *testing.T) {
	for range 50 {
		s := NewShardedChan(2)
		var group sync.WaitGroup
		for i := range s.Count() {
			group.Go(func() {
				for range s.Shard(i) {
				}
			})
		}
		for range 4 {
			group.Go(func() {
				for i := range 500 {
					s.Send(numberedEvent(numbered(i), i))
				}
			})
			group.Go(s.Close)
		}
		group.Wait()
		s.Send(numberedEvent("late", 1))
		if got := s.Stats(); got.Queued != 0 {
			t.Fatalf("Stats after Close = %+v", got)
		}
	}
}

func TestSendAfterCloseDoesNothing(t *testing.T) {
	s := NewShardedChan(1)
	s.Close()
	s.Close()
	s.Send(numberedEvent("a", 1))
	if e, open := <-s.Shard(0); open {
		t.Fatalf("received %v after Close", e)
	}
}

// Close gives a consumer that does not read a second, and counts what it never got.
func TestCloseWithAStuckConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShardedChan(2)
		for i := range 1000 {
			s.Send(numberedEvent("a", i))
		}
		begin := time.Now()
		s.Close()
		if took := time.Since(begin); took != drainIdle {
			t.Errorf("Close took %v, want %v", took, drainIdle)
		}
		if got := s.Stats(); got.Dropped != 900 || got.Queued != 0 {
			t.Errorf("Stats = %+v, want 900 dropped", got)
		}
	})
}

// Close waits for a consumer that reads, though not for ever.
func TestCloseWithASlowConsumer(t *testing.T) {
	tests := []struct {
		name  string
		pause time.Duration
		lost  bool
	}{
		{"reads in time", 10 * time.Millisecond, false},
		{"takes too long", 500 * time.Millisecond, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewShardedChan(1)
				const n = shardBuffer + 200
				for i := range n {
					s.Send(numberedEvent("a", i))
				}
				received := make(chan int)
				go func() {
					count := 0
					for range s.Shard(0) {
						count++
						time.Sleep(test.pause)
					}
					received <- count
				}()
				begin := time.Now()
				s.Close()
				if took := time.Since(begin); took > drainLimit {
					t.Errorf("Close took %v, want at most %v", took, drainLimit)
				}
				got, dropped := <-received, int(s.Stats().Dropped)
				if got+dropped != n || (dropped > 0) != test.lost {
					t.Errorf("%d received and %d dropped of %d", got, dropped, n)
				}
			})
		})
	}
}
