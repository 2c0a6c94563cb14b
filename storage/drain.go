package storage

import "time"

// How long a Close goes on delivering to a consumer: as long as it takes events, but
// no longer than drainIdle for one event and drainLimit in all.
const (
	drainIdle  = time.Second
	drainLimit = 5 * time.Second
)

// drain waits until done is closed, while progress goes on. It reports whether done came.
func drain(done <-chan struct{}, progress func() uint64) bool {
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	idle := time.NewTicker(drainIdle)
	defer idle.Stop()
	last := progress()
	for {
		select {
		case <-done:
			return true
		case <-limit.C:
			return false
		case <-idle.C:
			now := progress()
			if now == last {
				return false
			}
			last = now
		}
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
