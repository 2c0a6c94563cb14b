package backup

import (
	"context"
	"time"
)

const (
	// defaultShare is the share of a processor that a backup takes: so little that writers hardly notice on a
	// small machine.
	defaultShare = 0.1
	// longestPause keeps a backup going where a block took long for other reasons than work.
	longestPause = 250 * time.Millisecond
)

// pacer lets others have the processor. Between two blocks it pauses for so long that work takes only
// its share of the time.
type pacer struct {
	share  float64
	began  time.Time
	waited time.Duration // since then, for code of the caller
}

// pause returns how long to pause behind the work since it began.
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
