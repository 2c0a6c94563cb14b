package ko

import (
	"testing"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind. LevelDB's pool of buffers takes a second to notice that its database was closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}
