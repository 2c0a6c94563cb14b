package storage

import "time"

// How long Close delivers to a consumer: as long as the consumer takes events, but at most drainIdle for one event
// and drainLimit in total.
const (
	drainIdle  = time.Second
	drainLimit = 5 * time.Second
)

// drain waits until all channels in dones are closed, as long as progress increases. It reports whether they closed.
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
