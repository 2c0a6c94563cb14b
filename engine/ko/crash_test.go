package ko

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/storage"
)

// Power is lost while writers write: all that was acknowledged by then is there.
func TestCrashKeepsTheAcknowledged(t *testing.T) {
	newFaulty(t, testrand.New(t), nil).TestCrashes(t, 12)
}

// Deletes and clears survive power loss too.
func TestCrashKeepsDeletes(t *testing.T) {
	rng := testrand.New(t)
	disk := newMemDisk()
	l := enginetest.Start(t, disk.layer(t, Options{}))
	enginetest.TestCrashKeepsDeletes(t, l, func() enginetest.Layer { return disk.crashed(rng).layer(t, Options{}) })
}

func TestCrashKeepsMark(t *testing.T) {
	rng := testrand.New(t)
	disk := newMemDisk()
	l := enginetest.Start(t, disk.layer(t, Options{}))
	enginetest.TestCrashKeepsMark(t, l, func() enginetest.Layer { return disk.crashed(rng).layer(t, Options{}) })
}

// Without sync, Close loses nothing, whichever log the writes are in. The table of the newest
// log but one may not be made when it closes.
func TestNoSyncClosesDurably(t *testing.T) {
	rng := testrand.New(t)
	for range 20 {
		f := newFaulty(t, rng, nil)
		f.Layer = f.disk.layer(t, Options{Durability: DurabilityNoSync, WriteBuffer: smallBuffer})
		enginetest.Start(t, f.Layer)
		if err := f.Commit(20 + rng.IntN(100)); err != nil {
			t.Fatal(err)
		}
		f.Layer.Close()
		f.CheckCrash(t, &f.Pairs)
	}
}

// Without sync, a crash of the machine loses the newest writes and no others, or leaves a hole
// that a start refuses until a recovery is asked for.
func TestNoSyncCrash(t *testing.T) {
	rng := testrand.New(t)
	disk := newMemDisk()
	l := enginetest.Start(t, disk.layer(t, Options{Durability: DurabilityNoSync, WriteBuffer: smallBuffer}))
	lost := false
	for i := range 1000 {
		path := fmt.Sprintf("d/%04d", i)
		if err := l.Set(path, enginetest.Object(path, 1, fmt.Sprintf("%q", strings.Repeat("x", 100)))); err != nil {
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
			enginetest.Start(t, crashed.layer(t, Options{Recover: true}))
			continue
		}
		got := enginetest.Keys(t, after)
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
