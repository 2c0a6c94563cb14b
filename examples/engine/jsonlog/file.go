package jsonlog

import "io"

// file is what the layer needs of an *os.File; a test gives it one that fails.
type file interface {
	io.Reader
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
}
