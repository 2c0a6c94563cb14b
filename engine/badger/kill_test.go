package badger

import (
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

func TestKill(t *testing.T) {
	unsynced := small()
	unsynced.Durability = DurabilityNoSync
	kinds := map[string]func(dir string) enginetest.Layer{}
	for kind, o := range map[string]Options{"synced": small(), "not synced": unsynced, "encrypted": encrypted(small())} {
		kinds[kind] = func(dir string) enginetest.Layer { return New(dir, o) }
	}
	enginetest.TestKill(t, kinds)
}
