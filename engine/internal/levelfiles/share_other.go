//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package levelfiles

import (
	"io"
	"os"
)

// ShareFlock opens the file of a lock, which fails on Windows while a writer has it, and keeps a writer from opening
// it. On other systems it keeps nobody away.
func ShareFlock(name string) (io.Closer, error) { return os.Open(name) }

// ShareFcntl is ShareFlock.
func ShareFcntl(name string) (io.Closer, error) { return os.Open(name) }
