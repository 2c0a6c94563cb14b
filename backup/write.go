package backup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/oolith-db/oolith/internal/codec"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// WriteOptions configure Write. The zero value backs up everything.
type WriteOptions struct {
	// Pattern restricts the backup to matching objects: a glob, or a single path. Empty for everything.
	Pattern string
	// Share is the backup's share of one processor's time, above 0 and up to 1; 0.1 when zero. A smaller share
	// affects other work less but takes longer: at 0.1 a gigabyte of data takes a minute or more. Use 1 if nothing
	// else uses the store.
	Share float64
	// Progress, if not nil, is called occasionally by the goroutine of Write.
	Progress func(Progress)
}

// Write writes a backup of a store in use and returns its description. It returns after writing the last byte. The
// caller syncs the file and replaces an earlier one.
//
// Besides the snapshot, Write takes memory for about two blocks, of 256 KiB or of the largest object. After an error
// of the context or of the writer, or storage.ErrNotActive after the store is closed, the file is incomplete and no
// reader accepts it.
func Write(ctx context.Context, store *storage.Layered, w io.Writer, opt WriteOptions) (Info, error) {
	info, err := write(ctx, store, w, opt)
	if err != nil {
		return Info{}, fmt.Errorf("backup: write: %w", err)
	}
	return info, nil
}

func write(ctx context.Context, store *storage.Layered, out io.Writer, opt WriteOptions) (Info, error) {
	if err := opt.check(); err != nil {
		return Info{}, err
	}
	snapshot, err := store.Snapshot(ctx, opt.Pattern)
	if err != nil {
		return Info{}, err
	}
	defer snapshot.Close()
	return writeObjects(ctx, snapshot.All(), snapshot.Revision(), out, opt)
}

// WriteLayer is Write for a started persistent layer that belongs to no store. Nobody may write to the layer during
// the call. It backs up a store that is not in use without starting it.
//
// The revision of the backup is the last one of the layer; 0 for a layer that is not a storage.Batcher.
func WriteLayer(ctx context.Context, layer storage.EmbeddedLayer, w io.Writer, opt WriteOptions) (Info, error) {
	info, err := writeLayer(ctx, layer, w, opt)
	if err != nil {
		return Info{}, fmt.Errorf("backup: write: %w", err)
	}
	return info, nil
}

func writeLayer(ctx context.Context, layer storage.EmbeddedLayer, out io.Writer, opt WriteOptions) (Info, error) {
	if err := opt.check(); err != nil {
		return Info{}, err
	}
	if err := checkContext(ctx); err != nil {
		return Info{}, err
	}
	var revision uint64
	if knows, ok := storage.As[interface{ LastRevision() (uint64, error) }](layer); ok { // a storage.Batcher or a shared layer
		var err error
		if revision, err = knows.LastRevision(); err != nil {
			return Info{}, err
		}
	}
	return writeObjects(ctx, unexpired(ctx, storage.Scan(layer, opt.Pattern)), revision, out, opt)
}

// checkContext returns the error of a context that has ended. A nil context is an error.
func checkContext(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("%w, the context is nil, expected one such as context.Background()", storage.ErrInvalidOptions)
	}
	return ctx.Err()
}

// unexpired skips objects that have expired when it begins, and ends with the context.
func unexpired(ctx context.Context, objects iter.Seq2[meta.Object, error]) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		now := time.Now().UnixNano()
		for obj, err := range objects {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil && obj.Expired(now) {
				continue
			}
			if !yield(obj, err) || err != nil {
				return
			}
		}
	}
}

// check validates options.
func (opt *WriteOptions) check() error {
	if !(opt.Share >= 0 && opt.Share <= 1) { // also rejects NaN
		return fmt.Errorf("%w, a share of %v, expected 0 to 1", storage.ErrInvalidOptions, opt.Share)
	}
	return nil
}

// writeObjects writes a backup of objects in their order.
func writeObjects(ctx context.Context, objects iter.Seq2[meta.Object, error], revision uint64, out io.Writer, opt WriteOptions) (Info, error) {
	if opt.Share == 0 {
		opt.Share = defaultShare
	}
	w, err := newWriter(out, Info{Version: version, Revision: revision, Taken: time.Unix(0, time.Now().UnixNano()), Pattern: opt.Pattern})
	if err != nil {
		return Info{}, err
	}
	w.progress, w.pace = opt.Progress, pacer{share: opt.Share, began: time.Now()}
	for obj, err := range objects {
		if err == nil {
			err = w.add(ctx, &obj)
		}
		if err != nil {
			return Info{}, err
		}
	}
	return w.finish(ctx)
}

// writer writes objects, which arrive in order, to a file.
type writer struct {
	out      io.Writer
	sum      hash.Hash
	packer   *zstd.Encoder
	progress func(Progress)
	pace     pacer
	info     Info
	longest  int // maximum size of an object's data in bytes

	records  []byte // of the next block
	packed   []byte
	envelope []byte
}

func newWriter(out io.Writer, info Info) (*writer, error) {
	packer, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), // leave the other processors to users of the store
		zstd.WithEncoderCRC(false),     // each block has one
		zstd.WithWindowSize(blockSize),
	)
	if err != nil {
		return nil, err
	}
	w := &writer{out: out, sum: sha256.New(), packer: packer, info: info, longest: maxBlock - blockSize, pace: pacer{share: 1}}
	return w, w.write(appendHeader(nil, info))
}

// write writes bytes that the file's checksum covers.
func (w *writer) write(data []byte) error {
	w.sum.Write(data) // never fails
	return w.writeRaw(data)
}

func (w *writer) writeRaw(data []byte) error {
	start := time.Now()
	n, err := w.out.Write(data)
	w.pace.waited += time.Since(start)
	w.info.Size += int64(n)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	return err
}

var errTooLong = errors.New("the object is too large for a backup")

// add adds an object.
func (w *writer) add(ctx context.Context, obj *meta.Object) error {
	if len(obj.Data) > w.longest {
		return fmt.Errorf("%q: %w, %d bytes, at most %d", obj.Path, errTooLong, len(obj.Data), w.longest)
	}
	// A record larger than a block gets its own block.
	if len(w.records) > 0 && len(w.records)+len(obj.Data) > blockSize {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	w.envelope = codec.Append(w.envelope[:0], obj.Path, obj)
	w.records = appendRecord(w.records, obj.Path, w.envelope)
	w.info.Objects++
	w.info.DataBytes += int64(len(obj.Data))
	return nil
}

// flush writes the block of waiting records and pauses.
func (w *writer) flush(ctx context.Context) error {
	if len(w.records) == 0 {
		return nil
	}
	block := append(w.packed[:0], make([]byte, blockHead)...)
	block = w.packer.EncodeAll(w.records, block)
	binary.LittleEndian.PutUint32(block, uint32(len(block)-blockHead))
	binary.LittleEndian.PutUint32(block[4:], uint32(len(w.records)))
	block = appendSum(block)
	if err := w.write(block); err != nil {
		return err
	}
	w.packed, w.records = keep(block), keep(w.records)
	w.envelope = keep(w.envelope)
	if w.progress != nil {
		start := time.Now()
		w.progress(Progress{Step: StepWrite, Objects: w.info.Objects, Bytes: w.info.Size})
		w.pace.waited += time.Since(start)
	}
	return w.pace.rest(ctx)
}

// keep returns memory for the next block, unless a large object made it large.
func keep(buffer []byte) []byte {
	if cap(buffer) > 4*blockSize {
		return nil
	}
	return buffer[:0]
}

// finish writes the rest and returns the description of the file.
func (w *writer) finish(ctx context.Context) (Info, error) {
	if err := w.flush(ctx); err != nil {
		return Info{}, err
	}
	if err := w.write(appendCounts(nil, w.info)); err != nil {
		return Info{}, err
	}
	w.sum.Sum(w.info.SHA256[:0])
	if err := w.writeRaw(append(w.info.SHA256[:], endMagic...)); err != nil {
		return Info{}, err
	}
	return w.info, nil
}
