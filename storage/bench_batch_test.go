package storage

import (
	"encoding/json"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// cityData is 150 bytes of JSON.
var cityData = json.RawMessage(`{"name":"Lisbon","country":"PT","population":517802,"latitude":38.71667,"longitude":-9.13333,"timezone":"Europe/Lisbon","elevation":15,"code":"PPLC-1"}`)

// million returns a store in memory with a million objects in lists of 100,000.
func million(b *testing.B, options Options) *Layered {
	b.Helper()
	const objects = 1_000_000
	s := start(b, LayeredConfig{Memory: NewMemoryLayer()}, options)
	var all iter.Seq2[meta.Object, error] = func(yield func(meta.Object, error) bool) {
		for i := range objects {
			index := fmt.Sprintf("%08d", i)
			obj := meta.Object{Path: fmt.Sprintf("cities/%d/%s", i/100_000, index), Index: index, Created: int64(i), Data: cityData}
			if !yield(obj, nil) {
				return
			}
		}
	}
	if _, _, err := s.run.Load().memory.Load(all, objects, nil); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkPage reads pages of 100 objects, from the start, the middle and the end of a list, and across
// all lists.
func BenchmarkPage(b *testing.B) {
	s := million(b, Options{})
	for _, where := range []struct {
		name, pattern string
		at            int64
	}{
		{"start", "cities/5/*", 0},
		{"middle", "cities/5/*", 550_000},
		{"end", "cities/5/*", 599_800},
		{"middle of ten lists", "cities/*/*", 550_000},
	} {
		for _, descending := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/descending=%v", where.name, descending), func(b *testing.B) {
				opt := ListOptions{Descending: descending, Limit: 1}
				if where.at != 0 {
					// The cursor behind the object of that time.
					bounded := opt
					bounded.From, bounded.To = &where.at, nil
					if descending {
						bounded.From, bounded.To = nil, &where.at
					}
					first, err := s.Page(where.pattern, bounded)
					if err != nil || first.Next == "" {
						b.Fatal(first.Next, err)
					}
					opt.Cursor = first.Next
				}
				opt.Limit = 100
				b.ReportAllocs()
				for b.Loop() {
					page, err := s.Page(where.pattern, opt)
					if err != nil || len(page.Objects) != 100 {
						b.Fatal(len(page.Objects), err)
					}
				}
			})
		}
	}
}

// BenchmarkCount counts 100,000 objects.
func BenchmarkCount(b *testing.B) {
	s := million(b, Options{})
	b.ReportAllocs()
	for b.Loop() {
		if n, err := s.Count("cities/5/*"); n != 100_000 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkBatch commits batches in memory; the time is of a batch.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("changes=%d", size), func(b *testing.B) {
			s := million(b, Options{})
			s.Watch(func(Event) {})
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				var batch Batch
				for range size {
					n = (n + 7919) % 1_000_000
					batch.Set(fmt.Sprintf("cities/%d/%08d", n/100_000, n), cityData)
				}
				if _, err := s.Commit(&batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPushRetained pushes to lists that are full, by count, and by count and age.
func BenchmarkPushRetained(b *testing.B) {
	for _, rule := range []Retention{
		{Pattern: "logs/*", Count: 100_000},
		{Pattern: "logs/*", Count: 100_000, Age: time.Hour},
	} {
		b.Run(fmt.Sprintf("age=%v", rule.Age), func(b *testing.B) {
			s := start(b, LayeredConfig{Memory: NewMemoryLayer()}, Options{Retention: []Retention{rule}})
			for range rule.Count {
				if _, err := s.Push("logs/*", cityData); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Push("logs/*", cityData); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
