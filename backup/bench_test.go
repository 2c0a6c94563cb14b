package backup_test

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oolith-db/oolith/backup"
	"github.com/oolith-db/oolith/engine/pebble"
	"github.com/oolith-db/oolith/storage"
)

// city has the size of an object of the sample in examples.
const city = `{"id":2267057,"name":"Lisbon","country":"PT","latitude":38.71667,"longitude":-9.13333,"population":517802,"zone":"Europe/Lisbon"}`

// filled returns a store of many objects in a hundred directories.
func filled(b *testing.B, config storage.LayeredConfig, objects int) *storage.Layered {
	b.Helper()
	store := started(b, config)
	for i := 0; i < objects; {
		var batch storage.Batch
		for range 1000 {
			batch.Set(fmt.Sprintf("cities/%d/%d", i%100, i), []byte(city))
			i++
		}
		if _, err := store.Commit(&batch); err != nil {
			b.Fatal(err)
		}
	}
	return store
}

// writing overwrites objects from some goroutines until stop, and counts.
func writing(b *testing.B, store *storage.Layered, goroutines, objects int) (count *atomic.Int64, stop func()) {
	count = new(atomic.Int64)
	var stopped atomic.Bool
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for i := g; !stopped.Load(); i = (i + 7919) % objects {
				if _, err := store.Set(fmt.Sprintf("cities/%d/%d", i%100, i), []byte(city)); err != nil {
					b.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	return count, func() { stopped.Store(true); group.Wait() }
}

// comparison counts writes in turns: while a block of a backup is made, and then for as long while the
// backup waits. So what else the machine is busy with falls on both.
type comparison struct {
	count                   *atomic.Int64
	start                   time.Time
	before                  int64
	during, without         time.Duration
	writesDuring, writesNot int64
}

func (c *comparison) begin(count *atomic.Int64) {
	c.count, c.before, c.start = count, count.Load(), time.Now()
}

// alternate is the Progress of the backup.
func (c *comparison) alternate(backup.Progress) {
	took := time.Since(c.start)
	c.during += took
	c.writesDuring += c.count.Load() - c.before
	c.begin(c.count)
	time.Sleep(took)
	c.without += time.Since(c.start)
	c.writesNot += c.count.Load() - c.before
	c.begin(c.count)
}

func (c *comparison) report(b *testing.B) {
	with, alone := float64(c.writesDuring)/c.during.Seconds(), float64(c.writesNot)/c.without.Seconds()
	b.ReportMetric(with, "writes/s-during")
	b.ReportMetric(alone, "writes/s-without")
	b.ReportMetric(100*(1-with/alone), "%-lost")
	b.ReportMetric(float64(c.during.Milliseconds())/float64(b.N), "ms/backup")
}

// BenchmarkWriters compares what writers get done during a backup of 200,000 objects with what they get
// done in as much time without one.
func BenchmarkWriters(b *testing.B) {
	const objects = 200_000
	for _, layout := range []struct {
		name   string
		config func(b *testing.B) storage.LayeredConfig
	}{
		{"memory", func(*testing.B) storage.LayeredConfig {
			return storage.LayeredConfig{Memory: storage.NewMemoryLayer()}
		}},
		{"memory over pebble", func(b *testing.B) storage.LayeredConfig {
			return storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: pebble.New(b.TempDir(), pebble.Options{})}
		}},
		{"pebble alone", func(b *testing.B) storage.LayeredConfig {
			return storage.LayeredConfig{Embedded: pebble.New(b.TempDir(), pebble.Options{})}
		}},
	} {
		for _, goroutines := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/writers=%d", layout.name, goroutines), func(b *testing.B) {
				store := filled(b, layout.config(b), objects)
				count, stop := writing(b, store, goroutines, objects)
				defer stop()
				var c comparison
				for b.Loop() {
					c.begin(count)
					if _, err := backup.Write(b.Context(), store, io.Discard, backup.WriteOptions{Progress: c.alternate}); err != nil {
						b.Fatal(err)
					}
				}
				c.report(b)
			})
		}
	}
}

// BenchmarkWrite writes a backup of 200,000 objects as fast as it can.
func BenchmarkWrite(b *testing.B) {
	store := filled(b, storage.LayeredConfig{Memory: storage.NewMemoryLayer()}, 200_000)
	b.ReportAllocs()
	for b.Loop() {
		info, err := backup.Write(b.Context(), store, io.Discard, backup.WriteOptions{Share: 1})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(info.DataBytes)
	}
}

// BenchmarkVerify reads a backup of 200,000 objects.
func BenchmarkVerify(b *testing.B) {
	file, info := written(b, filled(b, storage.LayeredConfig{Memory: storage.NewMemoryLayer()}, 200_000), backup.WriteOptions{})
	b.SetBytes(info.DataBytes)
	for b.Loop() {
		if _, err := verify(b, file); err != nil {
			b.Fatal(err)
		}
	}
}
