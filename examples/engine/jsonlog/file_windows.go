package jsonlog

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"

	"github.com/oolith-db/oolith/storage"
)

// openExclusive opens or creates a file that is not open elsewhere. The operating system releases it when the process
// ends, for any reason.
func openExclusive(name string) (file, error) {
	text, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	const shareNothing = 0
	handle, err := windows.CreateFile(text, windows.GENERIC_READ|windows.GENERIC_WRITE, shareNothing, nil,
		windows.OPEN_ALWAYS, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err == windows.ERROR_SHARING_VIOLATION {
		err = storage.ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("open the file: %w", err)
	}
	return os.NewFile(uintptr(handle), name), nil
}
