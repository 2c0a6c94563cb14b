package ko

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// Power is lost while writers write: all that was acknowledged by then is there.
func TestCrashKeepsTheAcknowledged(t *testing.T) {
	rng := seeded(t)
	f := newFaulty(t, nil)
	if err := f.layer.Start(storage.LayerOptions{}); err != nil {
		t.Fatal(err)
	}
	defer f.layer.Close()
	written := make(chan error, 1)
	go func() { written <- f.write(2000) }()
	for range 12 {
		f.lock.Lock()
		acked := map[string]bool{}
		for name := range f.acked {
			acked[name] = true
		}
		f.lock.Unlock()
		now := &faulty{disk: f.disk, acked: acked}
		now.checkReopens(t, rng)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	f.checkReopens(t, rng)
}

// Deletes and clears survive power loss too.
func TestCrashKeepsDeletes(t *testing.T) {
	rng := seeded(t)
	disk := newMemDisk()
	l := started(t, disk.layer(t, Options{}))
	reopened := func() *Layer {
		t.Helper()
		return started(t, disk.crashed(rng).layer(t, Options{}))
	}
	set(t, l, "a", "b", "c")
	if err := l.Del("a"); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, reopened()); strings.Join(got, " ") != "b c" {
		t.Errorf("after a delete and a crash there is %q", got)
	}
	l.Clear()
	if got := keys(t, reopened()); len(got) != 0 {
		t.Errorf("after Clear and a crash there is %q", got)
	}
}

// Without sync, Close loses nothing, whichever log the writes are in. The table of the newest
// log but one may not be made when it closes.
func TestNoSyncClosesDurably(t *testing.T) {
	rng := seeded(t)
	for range 20 {
		f := newFaulty(t, nil)
		f.layer = f.disk.layer(t, Options{Durability: DurabilityNoSync, WriteBuffer: smallBuffer})
		if err := f.layer.Start(storage.LayerOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := f.write(20 + rng.IntN(100)); err != nil {
			t.Fatal(err)
		}
		f.layer.Close()
		f.checkReopens(t, rng)
	}
}

// Without sync, a crash of the machine loses the newest writes and no others, or leaves a hole
// that a start refuses until a recovery is asked for.
func TestNoSyncCrash(t *testing.T) {
	rng := seeded(t)
	disk := newMemDisk()
	l := started(t, disk.layer(t, Options{Durability: DurabilityNoSync, WriteBuffer: smallBuffer}))
	lost := false
	for i := range 1000 {
		path := fmt.Sprintf("d/%04d", i)
		if err := l.Set(path, object(path, 1, fmt.Sprintf("%q", strings.Repeat("x", 100)))); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(20) > 0 {
			continue
		}
		crashed := disk.crashed(rng)
		after := crashed.layer(t, Options{})
		if err := after.Start(storage.LayerOptions{}); err != nil {
			if !isCorrupt(err) {
				t.Fatal(err)
			}
			started(t, crashed.layer(t, Options{Recover: true}))
			continue
		}
		got := keys(t, after)
		for n, path := range got {
			if path != fmt.Sprintf("d/%04d", n) {
				t.Fatalf("after a crash key %d is %s", n, path)
			}
		}
		lost = lost || len(got) <= i
		after.Close()
	}
	if !lost {
		t.Error("no crash lost a write: the test has no teeth")
	}
}
