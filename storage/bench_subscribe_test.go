package storage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// subscribed returns a store in memory with subscriptions of which each follows another pattern,
// none of them one of the paths that publishers write. Somebody subscribed before them, and went: changes are
// kept for who resumes.
func subscribed(b *testing.B, subscriptions int) *Layered {
	b.Helper()
	s := inMemory(b)
	first, err := s.Subscribe(b.Context(), "rooms", SubscribeOptions{})
	must(b, err)
	first.Close()
	for i := range subscriptions {
		sub, err := s.Subscribe(b.Context(), fmt.Sprintf("rooms/%d/*", i), SubscribeOptions{})
		must(b, err)
		b.Cleanup(sub.Close)
	}
	return s
}

// publisher sets the same thousand paths again and again.
type publisher struct {
	store *Layered
	paths []string
	next  int
}

func newPublisher(s *Layered, pattern string) *publisher {
	p := &publisher{store: s}
	for i := range 1000 {
		p.paths = append(p.paths, fmt.Sprintf(pattern, 1000+i))
	}
	return p
}

var benchData = []byte(`{"temperature":21.5,"humidity":40,"battery":98,"name":"kitchen window"}`)

func (p *publisher) set(b *testing.B, times int) time.Duration {
	begin := time.Now()
	for range times {
		if _, err := p.store.Set(p.paths[p.next], benchData); err != nil {
			b.Fatal(err)
		}
		p.next = (p.next + 1) % len(p.paths)
	}
	return time.Since(begin)
}

// BenchmarkPublish is the cost of a Set in a store with subscriptions that do not match it.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("others=%d", n), func(b *testing.B) {
			p := newPublisher(subscribed(b, n), "devices/%d/state")
			b.ReportAllocs()
			for b.Loop() {
				p.set(b, 1)
			}
		})
	}
}

// BenchmarkPublishSideBySide is BenchmarkPublish for a machine that has other things to do: the stores
// take short turns, and the figures are lower quartiles over all turns. The paths are in other directories than
// the patterns from the first segment on, or from the second. To the first store nobody ever subscribed: it
// keeps no changes.
func BenchmarkPublishSideBySide(b *testing.B) {
	for _, pattern := range []string{"devices/%d/state", "rooms/%d/door"} {
		b.Run(pattern[:5], func(b *testing.B) {
			const never = -1
			counts := []int{never, 0, 1, 1000}
			publishers := make([]*publisher, len(counts))
			for i, n := range counts {
				store := inMemory(b)
				if n != never {
					store = subscribed(b, n)
				}
				publishers[i] = newPublisher(store, pattern)
				publishers[i].set(b, 100_000) // the histories are full
			}
			const turn = 500
			took := make([][]time.Duration, len(counts))
			first := 0
			for b.Loop() {
				for i := range counts {
					i = (first + i) % len(counts)
					took[i] = append(took[i], publishers[i].set(b, turn))
				}
				first++
			}
			for i, n := range counts {
				slices.Sort(took[i])
				quartile := took[i][len(took[i])/4]
				name := fmt.Sprintf("ns/set-%d-others", n)
				if n == never {
					name = "ns/set-never"
				}
				b.ReportMetric(float64(quartile)/turn, name)
			}
		})
	}
}

// BenchmarkDeliver is the time from the call of Set until the last of all matching subscribers has
// the notice.
func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			s := inMemory(b)
			var ready, told, ended sync.WaitGroup
			ready.Add(n)
			ctx, cancel := context.WithCancel(b.Context())
			for range n {
				sub, err := s.Subscribe(ctx, "devices/*/state", SubscribeOptions{})
				must(b, err)
				ended.Go(func() {
					defer sub.Close()
					for notice, err := range sub.All(ctx) {
						switch {
						case err != nil:
							return
						case notice.Kind == NoticeLive:
							ready.Done()
						default:
							told.Done()
						}
					}
				})
			}
			ready.Wait()
			var took []time.Duration
			for b.Loop() {
				told.Add(n)
				begin := time.Now()
				if _, err := s.Set("devices/1/state", benchData); err != nil {
					b.Fatal(err)
				}
				told.Wait()
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/1e3, "µs/median")
			b.ReportMetric(float64(took[len(took)*99/100])/1e3, "µs/p99")
			cancel()
			ended.Wait()
		})
	}
}

// BenchmarkSubscribe is the cost of a subscription that comes and goes beside others.
func BenchmarkSubscribe(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("others=%d", n), func(b *testing.B) {
			s := subscribed(b, n)
			b.ReportAllocs()
			for b.Loop() {
				sub, err := s.Subscribe(b.Context(), "rooms/1/door", SubscribeOptions{})
				must(b, err)
				sub.Close()
			}
		})
	}
}
