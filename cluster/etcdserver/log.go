package etcdserver

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLog returns the log of a member. Etcd ends its process with a line of the log and no other word, for example when
// the disk is full. The log is silent until then, and writes the newest warnings and this line to out.
func newLog(name string, out io.Writer) *zap.Logger {
	encoder := zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())
	newest := new(tail)
	return zap.New(zapcore.NewTee( // in this order: the last line is kept before it is reported
		zapcore.NewCore(encoder, zapcore.AddSync(newest), zap.WarnLevel),
		zapcore.NewCore(encoder, zapcore.AddSync(report(func() {
			fmt.Fprintf(out, "etcd member %s ends process %d; its log ends with:\n%s\n", name, os.Getpid(), newest)
		})), zap.PanicLevel),
	))
}

// report is called for each line that ends the process.
type report func()

func (r report) Write(line []byte) (int, error) {
	r()
	return len(line), nil
}

// tailSize is the number of bytes that a tail keeps.
const tailSize = 8 << 10

// tail keeps the end of what is written to it. It may be used concurrently.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}
