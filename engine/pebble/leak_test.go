package pebble

import (
	"testing"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind. Pebble itself forgets this one when an opening fails in its last steps.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2.(*ConcurrencyLimitScheduler).periodicGranter"))
}
