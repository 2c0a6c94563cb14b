package storage

import "time"

// How long a Close goes on delivering to a consumer: as long as it takes events, but
// no longer than drainIdle for one event and drainLimit in all.
const (
	drainIdle  = time.Second
	drainLimit = 5 * time.Second
)

// drain waits until all that is to be done is closed, while progress goes on. It reports whether that came.
func drain(dones []<-chan struct{}, progress func() uint64) bool {
	if len(dones) == 0 {
		return true
	}
	all := make(chan struct{})
	go func() {
		defer close(all)
		for _, done := range dones {
			<-done
		}
	}()
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	idle := time.NewTicker(drainIdle)
	defer idle.Stop()
	last := progress()
	for {
		select {
		case <-all:
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
