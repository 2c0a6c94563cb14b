package enginekit

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A lock that is let go within a moment is taken, one that is held is not, and no other error is waited for.
func TestLocked(t *testing.T) {
	held, here, broken := errors.New("held"), errors.New("held here"), errors.New("broken")
	for _, c := range []struct {
		name string
		free time.Duration // after which the lock is free
		err  error         // before that
		want error
	}{
		{"free at once", 0, held, nil},
		{"free after a moment", lockPatience / 2, held, nil},
		{"held for long", time.Hour, held, held},
		{"held by this process", time.Hour, here, here},
		{"another error", time.Hour, broken, broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				lock, err := Locked("the place", func() (string, error) {
					if time.Since(begin) < c.free {
						return "", c.err
					}
					return "lock", nil
				}, func(err error) Holder {
					return map[error]Holder{held: Anywhere, here: Here}[err]
				})
				if !errors.Is(err, c.want) || (err == nil) != (lock == "lock") || IsInUse(err) != (c.want == held || c.want == here) {
					t.Errorf("the lock is %q, %v, want %v", lock, err, c.want)
				}
				if took := time.Since(begin); took > lockPatience+lockPause || c.err != held && took > 0 {
					t.Errorf("it waited %v", took)
				}
				if c.want == held && !strings.Contains(err.Error(), "the place is in use by another process") {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}
