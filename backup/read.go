package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/oolith-db/oolith/internal/codec"
	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/meta"
)

// VerifyOptions configure Verify. The zero value is ready to use.
type VerifyOptions struct {
	// Progress, if not nil, is called occasionally by the goroutine of Verify.
	Progress func(Progress)
}

// Verify reads a backup to its end and returns its description if it is intact. It checks each checksum, the order of
// the paths, the counts, and that all data is valid JSON.
//
// It returns ErrForeign for a file that is not a backup, ErrVersion for a later version, ErrTruncated for a truncated
// file and ErrDamaged for any changed byte. Errors of the reader and of the context are returned wrapped.
func Verify(ctx context.Context, r io.Reader, opt VerifyOptions) (Info, error) {
	info, err := read(ctx, r, StepVerify, opt.Progress, func(*meta.Object) error { return nil })
	if err != nil {
		return Info{}, fmt.Errorf("backup: verify: %w", err)
	}
	return info, nil
}

// read reads a backup to its end and calls visit with each object, which visit then owns. The objects are verified
// only once read has returned.
func read(ctx context.Context, in io.Reader, step Step, progress func(Progress), visit func(*meta.Object) error) (Info, error) {
	if err := checkContext(ctx); err != nil {
		return Info{}, err
	}
	r, err := newReader(in)
	if err != nil {
		return Info{}, err
	}
	defer r.unpacker.Close()
	if err := r.header(); err != nil {
		return Info{}, r.at("header", err)
	}
	for blocks := 1; ; blocks++ {
		if err := ctx.Err(); err != nil {
			return Info{}, err
		}
		start := r.info.Size
		more, err := r.block(visit)
		if err != nil {
			return Info{}, fmt.Errorf("block %d at byte %d: %w", blocks, start, err)
		}
		if progress != nil {
			progress(Progress{Step: step, Objects: r.info.Objects, Bytes: r.info.Size})
		}
		if !more {
			break
		}
	}
	if err := r.trailer(); err != nil {
		return Info{}, r.at("end", err)
	}
	return r.info, nil
}

// reader parses a file.
type reader struct {
	in       *bufio.Reader
	sum      hash.Hash // of the bytes read except the last raw ones
	unpacker *zstd.Decoder
	info     Info
	last     string // the last path

	packed, records bytes.Buffer
}

func newReader(in io.Reader) (*reader, error) {
	unpacker, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock+blockSize))
	if err != nil {
		return nil, err
	}
	return &reader{in: bufio.NewReaderSize(in, 64<<10), sum: sha256.New(), unpacker: unpacker}, nil
}

// at adds the part of the file to an error.
func (r *reader) at(part string, err error) error {
	return fmt.Errorf("%s at byte %d: %w", part, r.info.Size, err)
}

// take reads n bytes after the content of a buffer. Memory grows with the available data, not with n.
func (r *reader) take(to *bytes.Buffer, n int64) error {
	got, err := io.CopyN(to, r.in, n)
	r.info.Size += got
	if errors.Is(err, io.EOF) {
		return ErrTruncated
	}
	return err
}

// reuse returns the memory of a buffer for the next block, unless a large object made it large.
func reuse(b bytes.Buffer) bytes.Buffer {
	if b.Cap() > 4*blockSize {
		return bytes.Buffer{}
	}
	b.Reset()
	return b
}

// header reads the header.
func (r *reader) header() error {
	head, err := r.in.Peek(len(magic) + 4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := checkMagic(head); err != nil {
		return err
	}
	var header bytes.Buffer
	if err := r.take(&header, headerFixed); err != nil {
		return err
	}
	pattern := binary.LittleEndian.Uint16(header.Bytes()[headerFixed-2:])
	if err := r.take(&header, int64(pattern)+sumSize); err != nil {
		return err
	}
	size := r.info.Size
	r.sum.Write(header.Bytes())
	r.info, err = parseHeader(header.Bytes())
	r.info.Size = size
	return err
}

// block reads the next block. It returns false at the leading zero of the trailer.
func (r *reader) block(visit func(*meta.Object) error) (more bool, err error) {
	r.packed, r.records = reuse(r.packed), reuse(r.records)
	b := &r.packed
	if err := r.take(b, 4); err != nil {
		return false, err
	}
	n := int64(binary.LittleEndian.Uint32(b.Bytes()))
	if n == 0 {
		r.sum.Write(b.Bytes())
		return false, nil
	}
	if n > maxPacked {
		return false, fmt.Errorf("%w, a block of %d bytes, at most %d", ErrDamaged, n, maxPacked)
	}
	if err := r.take(b, blockHead-4+n+sumSize); err != nil {
		return false, err
	}
	r.sum.Write(b.Bytes())
	body, err := checkSum(b.Bytes())
	if err != nil {
		return false, err
	}
	if err := r.unpack(body[blockHead:], int64(binary.LittleEndian.Uint32(body[4:]))); err != nil {
		return false, err
	}
	return true, r.visit(r.records.Bytes(), visit)
}

// unpack decompresses the records of a block to n bytes.
func (r *reader) unpack(packed []byte, n int64) error {
	if n > maxBlock {
		return fmt.Errorf("%w, a block of %d decompressed bytes, at most %d", ErrDamaged, n, maxBlock)
	}
	err := r.unpacker.Reset(bytes.NewReader(packed))
	if err == nil {
		_, err = io.Copy(&r.records, io.LimitReader(r.unpacker, n+1))
	}
	if err != nil {
		return fmt.Errorf("%w, it cannot be decompressed, %w", ErrDamaged, err)
	}
	if got := int64(r.records.Len()); got != n {
		return fmt.Errorf("%w, at least %d decompressed bytes, expected %d", ErrDamaged, got, n)
	}
	return nil
}

// visit visits the objects of a block.
func (r *reader) visit(records []byte, visit func(*meta.Object) error) error {
	for len(records) > 0 {
		path, envelope, rest, err := cutRecord(records)
		if err != nil {
			return err
		}
		records = rest
		obj, err := codec.Decode(path, envelope)
		switch {
		case err != nil:
			return fmt.Errorf("%w, %w", ErrDamaged, err)
		case r.info.Objects > 0 && comparePlaces(r.last, path) >= 0:
			return fmt.Errorf("%w, key %q is out of order", ErrDamaged, path)
		case !jsonvalid.Grammar(obj.Data):
			return fmt.Errorf("%w, key %q has invalid JSON", ErrDamaged, path)
		}
		r.last = path
		r.info.Objects++
		r.info.DataBytes += int64(len(obj.Data))
		if err := visit(&obj); err != nil {
			return err
		}
	}
	return nil
}

// trailer reads the trailer after its leading zero. Nothing may follow it.
func (r *reader) trailer() error {
	var data bytes.Buffer
	if err := r.take(&data, int64(trailerSize)); err != nil {
		return err
	}
	t, err := parseTrailer(data.Bytes())
	if err != nil {
		return err
	}
	r.sum.Write(data.Bytes()[:16])
	r.sum.Sum(r.info.SHA256[:0])
	switch {
	case t.objects != uint64(r.info.Objects) || t.dataBytes != uint64(r.info.DataBytes):
		return fmt.Errorf("%w, %d objects with %d bytes, expected %d with %d", ErrDamaged,
			r.info.Objects, r.info.DataBytes, t.objects, t.dataBytes)
	case t.sum != r.info.SHA256:
		return fmt.Errorf("%w, SHA-256 %x, expected %x", ErrDamaged, r.info.SHA256, t.sum)
	}
	switch _, err := r.in.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w, there is data after its end", ErrDamaged)
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}
