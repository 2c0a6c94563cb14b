//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package levelfiles

import (
	"io"
	"os"
)

// ShareFcntl opens a lock file. On Windows this fails while a writer has the file open, and keeps a writer from
// opening it. On other systems it excludes nobody.
func ShareFcntl(name string) (io.Closer, error) { return os.Open(name) }
