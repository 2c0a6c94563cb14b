package enginekit

import (
	"hash/maphash"
	"sync"
)

// KeyLocks make several steps on one key atomic among the holders of its lock. Different keys may share a lock, so a
// goroutine must hold only one at a time. The zero value is ready to use.
type KeyLocks struct{ locks [64]sync.Mutex }

var keySeed = maphash.MakeSeed()

// Of returns the lock of a path.
func (k *KeyLocks) Of(path string) *sync.Mutex {
	return &k.locks[maphash.String(keySeed, path)%uint64(len(k.locks))]
}
