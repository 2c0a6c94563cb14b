package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// input is an open file or standard input.
type input struct {
	io.Reader
	// name is the file's name in messages, "standard input" for -.
	name string
	// size is the number of bytes; -1 if unknown.
	size int64
	// read counts the bytes read.
	read atomic.Int64

	file *os.File // nil for standard input, which is not closed
	stop context.CancelFunc
}

// openInput opens a file, or standard input for "-". When ctx ends, reads return its error, even a read that is
// waiting. The caller must close the input.
func openInput(ctx context.Context, name string, stdin io.Reader) (*input, error) {
	in := &input{name: name, size: -1}
	source := stdin
	if name == "-" {
		in.name = "standard input"
	} else {
		file, err := os.Open(name)
		if err != nil {
			return nil, err // names the file
		}
		info, err := file.Stat()
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s: it is a directory, expected a file", name)
		}
		if err != nil {
			return nil, joinClose(err, file)
		}
		if info.Mode().IsRegular() {
			in.size = info.Size()
		}
		in.file, source = file, file
	}
	ctx, in.stop = context.WithCancel(ctx)
	in.Reader = newInterruptible(ctx, &countingReader{source, &in.read})
	return in, nil
}

// Close closes the input.
func (in *input) Close() error {
	in.stop()
	if in.file == nil {
		return nil
	}
	return in.file.Close()
}

type countingReader struct {
	source io.Reader
	read   *atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.source.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// interruptible is a reader whose Read returns the context's error as soon as the context ends. A read of a terminal
// or a pipe cannot be interrupted, so a goroutine does the reading. It ends with the source or with the context; if
// it still waits for a silent terminal, it ends with the process.
type interruptible struct {
	ctx    context.Context
	chunks <-chan chunk
	rest   chunk
}

type chunk struct {
	data []byte
	err  error
}

func newInterruptible(ctx context.Context, source io.Reader) *interruptible {
	chunks := make(chan chunk)
	go func() {
		// There are two buffers, because the receiver owns a chunk until it receives the next one.
		var buffers [2][readAhead]byte
		for i := 0; ; i = 1 - i {
			n, err := source.Read(buffers[i][:])
			select {
			case chunks <- chunk{buffers[i][:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return &interruptible{ctx: ctx, chunks: chunks}
}

func (r *interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	for len(r.rest.data) == 0 && r.rest.err == nil {
		select {
		case r.rest = <-r.chunks:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
	if len(r.rest.data) == 0 {
		return 0, r.rest.err
	}
	n := copy(p, r.rest.data)
	r.rest.data = r.rest.data[n:]
	return n, nil
}
