package storage

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// BenchmarkSetConsumed overwrites objects in memory, with each kind of consumer.
func BenchmarkSetConsumed(b *testing.B) {
	consumers := []struct {
		name    string
		consume func(*Layered)
	}{
		{"by nobody", func(*Layered) {}},
		{"by Watch", func(s *Layered) { s.Watch(func(Event) {}) }},
		{"by channels", func(s *Layered) { WatchStorageNoop(s) }},
		{"by Subscribe", func(s *Layered) {
			sub, err := s.Subscribe(b.Context(), "cities/*", SubscribeOptions{Lag: LagNewest})
			if err != nil {
				b.Fatal(err)
			}
			go func() {
				for range sub.All(b.Context()) {
				}
			}()
		}},
	}
	for _, c := range consumers {
		b.Run(c.name, func(b *testing.B) {
			s := New(LayeredConfig{Memory: NewMemoryLayer()})
			if err := s.Start(Options{}); err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			paths := make([]string, 1024)
			for i := range paths {
				paths[i] = fmt.Sprintf("cities/%08d", i)
			}
			c.consume(s)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				if _, err := s.Set(paths[n%len(paths)], cityData); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSet overwrites objects among a million in memory, with a watcher.
func BenchmarkSet(b *testing.B) {
	paths := make([]string, 1024)
	for i := range paths {
		n := i * 967
		paths[i] = fmt.Sprintf("cities/%d/%08d", n/100_000, n)
	}
	writes := []struct {
		name  string
		write func(s *Layered, path string) error
	}{
		{"Set", func(s *Layered, path string) error { _, err := s.Set(path, cityData); return err }},
		{"SetWith", func(s *Layered, path string) error {
			_, err := s.SetWith(path, cityData, SetOptions{})
			return err
		}},
		{"SetWith TTL", func(s *Layered, path string) error {
			_, err := s.SetWith(path, cityData, SetOptions{TTL: time.Hour})
			return err
		}},
		{"Update", func(s *Layered, path string) error {
			_, err := s.Update(path, func(meta.Object) (json.RawMessage, error) { return cityData, nil })
			return err
		}},
	}
	s := million(b, Options{})
	s.Watch(func(Event) {})
	for _, w := range writes {
		b.Run(w.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				if err := w.write(s, paths[n%len(paths)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
