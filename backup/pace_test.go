package backup

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPause(t *testing.T) {
	for _, test := range []struct {
		name         string
		share        float64
		took, waited time.Duration
		want         time.Duration
	}{
		{"a fifth", 0.2, 10 * time.Millisecond, 0, 40 * time.Millisecond},
		{"a half", 0.5, 10 * time.Millisecond, 0, 10 * time.Millisecond},
		{"all", 1, 10 * time.Millisecond, 0, 0},
		{"less what the output took", 0.2, 10 * time.Millisecond, 8 * time.Millisecond, 8 * time.Millisecond},
		{"the output took all", 0.2, 10 * time.Millisecond, 11 * time.Millisecond, 0},
		{"a block that took very long", 0.2, time.Hour, 0, longestPause},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := time.Now()
			p := pacer{share: test.share, began: now, waited: test.waited}
			if got := p.pause(now.Add(test.took)); got != test.want {
				t.Errorf("a pause of %v, want %v", got, test.want)
			}
		})
	}
}

func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := pacer{share: 0.25, began: start}
		time.Sleep(10 * time.Millisecond) // the work
		if err := p.rest(t.Context()); err != nil || time.Since(start) != 40*time.Millisecond {
			t.Errorf("work and rest took %v, %v, want 40ms", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		p.began = time.Now().Add(-time.Second)
		if err := p.rest(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 41*time.Millisecond {
			t.Errorf("a rest that the context ends: %v after %v", err, time.Since(start))
		}
	})
}
