package backup

import (
	"context"
	"time"
)

const (
	// defaultShare is a backup's share of one processor's time. It is so small that writers hardly notice on a small
	// machine.
	defaultShare = 0.1
	// longestPause keeps a backup going if a block took long for reasons other than work.
	longestPause = 250 * time.Millisecond
)

// pacer yields the processor: it pauses between blocks so that work takes only its share of the time.
type pacer struct {
	share  float64
	began  time.Time
	waited time.Duration // in code of the caller since then
}

// pause returns the length of the pause after the work since began.
func (p *pacer) pause(now time.Time) time.Duration {
	worked := max(0, now.Sub(p.began)-p.waited)
	return min(longestPause, time.Duration(float64(worked)*(1-p.share)/p.share))
}

// rest pauses, at most until the context ends.
func (p *pacer) rest(ctx context.Context) error {
	if pause := p.pause(time.Now()); pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.began, p.waited = time.Now(), 0
	return ctx.Err()
}
