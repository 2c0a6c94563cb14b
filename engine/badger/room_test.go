package badger

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

// The room that is left free is a part of the disk, within bounds, and what is in memory fits into it.
func TestScaledToTheDisk(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name              string
		given             Options
		disk              int64
		minFree, memTable int64
	}{
		{"an unknown disk", Options{}, 0, 512 * mib, 32 * mib},
		{"a large disk", Options{}, 1 << 40, 512 * mib, 32 * mib},
		{"a disk of 2 GiB", Options{}, 2 << 30, 128 * mib, 8 * mib},
		{"a disk of 100 MiB", Options{}, 100 * mib, 16 * mib, mib},
		{"a disk of 1 MiB", Options{}, mib, 16 * mib, mib},
		{"larger tables in memory", Options{MemTableSize: 64 * mib}, 1 << 40, 1024 * mib, 64 * mib},
		{"less room by name", Options{MinFree: 32 * mib}, 1 << 40, 32 * mib, 2 * mib},
		{"hardly any", Options{MinFree: 1}, 1 << 40, 1, mib},
		{"not looked at", Options{MinFree: -1}, mib, -1, 32 * mib},
	} {
		got := c.given.withDefaults().scaled(c.disk)
		if got.MinFree != c.minFree || got.MemTableSize != c.memTable || got.MaxData != int(min(1023<<10, got.MemTableSize*15/100-8<<10)) {
			t.Errorf("%s: %d bytes are left free, a table has %d, an object %d at most, expected %d and %d",
				c.name, got.MinFree, got.MemTableSize, got.MaxData, c.minFree, c.memTable)
		}
	}
}

// On a disk with too little room a write is refused with what to do, a delete goes on for longer, and reads need no room.
func TestTooLittleRoom(t *testing.T) {
	o := small()
	var left atomic.Int64
	o.hooks.room = func() (room, error) { return room{known: true, bytes: left.Load()}, nil }
	left.Store(1 << 30)
	l := start(t, t.TempDir(), o)
	enginetest.SetAll(t, l, "a", "b")
	left.Store(7 << 20) // of 16
	err := l.Set("c", enginetest.Object("c", 1, "1"))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "min-free") || !strings.Contains(err.Error(), "7 MiB are left, expected 17 MiB") {
		t.Errorf("a write: %v", err)
	}
	if err := l.Del("a"); err != nil {
		t.Errorf("a delete: %v", err)
	}
	left.Store(0)
	if err := l.Del("b"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a delete without any room: %v", err)
	}
	if got := enginetest.Keys(t, l); len(got) != 1 {
		t.Errorf("the keys are %q", got)
	}
	left.Store(1 << 30)
	enginetest.SetAll(t, l, "c")
}
