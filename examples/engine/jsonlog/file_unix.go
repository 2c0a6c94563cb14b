//go:build unix

package jsonlog

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/oolith-db/oolith/storage"
)

// openExclusive opens or creates a file that is not open elsewhere through this function. The operating system
// releases the lock when the process ends, for any reason. The file's name is durable.
func openExclusive(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if err == unix.EWOULDBLOCK {
			err = storage.ErrInUse
		}
		return nil, cmp.Or(fmt.Errorf("lock the file: %w", err), f.Close())
	}
	if err := syncDir(filepath.Dir(name)); err != nil {
		return nil, cmp.Or(err, f.Close())
	}
	return f, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return cmp.Or(d.Sync(), d.Close())
}
