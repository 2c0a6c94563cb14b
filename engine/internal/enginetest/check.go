package enginetest

import (
	"context"
	"errors"
	"testing"

	"github.com/oolith-db/oolith/storage"
)

// TestCheckLeft tests that a check ends with its results so far when the layer is closed, or its context is done,
// while it reports. The layer holds the given number of objects, of which the first is damaged.
func TestCheckLeft(t *testing.T, objects int, damaged func(t *testing.T) Layer, scans func(l Layer) int) {
	t.Run("Close", func(t *testing.T) {
		l := damaged(t)
		n, err := l.Check(t.Context(), func(error) { l.Close() })
		if !errors.Is(err, storage.ErrNotActive) || n == 0 || n >= objects-1 {
			t.Errorf("the check ended with %d objects and %v, expected a part and ErrNotActive", n, err)
		}
	})
	t.Run("context", func(t *testing.T) {
		l := damaged(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n, err := l.Check(ctx, func(error) { cancel() })
		if !errors.Is(err, context.Canceled) || n == 0 || n >= objects-1 {
			t.Errorf("the check ended with %d objects and %v, expected a part and context.Canceled", n, err)
		}
		if n := scans(l); n != 0 {
			t.Errorf("%d scans are held after the check", n)
		}
	})
}
