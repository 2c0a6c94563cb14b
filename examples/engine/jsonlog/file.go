package jsonlog

import "io"

// file has the methods of *os.File that the layer needs; a test passes one that fails.
type file interface {
	io.Reader
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
}
