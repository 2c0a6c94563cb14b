package command

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// unpacker reads gzip data: one or more members (RFC 1952, 2.2), followed by zeros only, which tapes and block
// devices add and gzip(1) also ignores.
type unpacker struct {
	in     *bufio.Reader
	member *gzip.Reader
	err    error // the final error
}

// unpack starts reading. The input begins with the gzip mark.
func unpack(in *bufio.Reader) (*unpacker, error) {
	member, err := gzip.NewReader(in)
	if err != nil {
		return nil, gzipError(err)
	}
	member.Multistream(false)
	return &unpacker{in: in, member: member}, nil
}

func (u *unpacker) Read(p []byte) (int, error) {
	for u.err == nil {
		n, err := u.member.Read(p)
		switch {
		case errors.Is(err, io.EOF):
			u.err = u.nextMember()
		case err != nil:
			u.err = gzipError(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, u.err
}

// nextMember continues with the next member, or returns io.EOF.
func (u *unpacker) nextMember() error {
	packed, err := startsWith(u.in, gzipMark)
	if err != nil {
		return err
	}
	if packed {
		if err := u.member.Reset(u.in); err != nil {
			return gzipError(err)
		}
		u.member.Multistream(false)
		return nil
	}
	for {
		c, err := u.in.ReadByte()
		if err != nil {
			return err // io.EOF at the end
		}
		if c != 0 {
			return errors.New("gzip data is followed by something else, expected the end of the file or more gzip data")
		}
	}
}

// gzipError describes an error of the library.
func gzipError(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, gzip.ErrHeader):
		return errors.New("the gzip data is damaged, its header is invalid")
	case errors.Is(err, gzip.ErrChecksum):
		return errors.New("the gzip data is damaged, its checksum is wrong")
	case errors.As(err, &corrupt):
		return fmt.Errorf("the gzip data is damaged near byte %d", int64(corrupt))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("gzip: %w", errCutOff)
	}
	return err // of the file
}
