//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package levelfiles

import (
	"io"
	"os"
)

// ShareFlock opens a lock file. On Windows this fails while a writer has the file open, and keeps a writer from
// opening it. On other systems it excludes nobody.
func ShareFlock(name string) (io.Closer, error) { return os.Open(name) }

// ShareFcntl is ShareFlock.
func ShareFcntl(name string) (io.Closer, error) { return os.Open(name) }
