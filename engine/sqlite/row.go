package sqlite

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unsafe"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// A row holds an object in columns named like its fields, and the data as the written text, byte for byte. The
// checksum is the CRC-32C (RFC 3720, appendix B.4) of the path, of created, updated, revision and expires in 8 bytes
// each, little-endian, and of the data. It is NULL for a row that another program wrote.

// The columns of an object, in the order of the constant columns.
const (
	createdColumn = iota
	updatedColumn
	revisionColumn
	expiresColumn
	dataColumn
	checksumColumn
	pathColumn
)

// The reasons why a row is not a valid object.
var (
	errChecksum = errors.New("the stored object does not match its checksum")
	errNotJSON  = errors.New("the row was edited by another program, and its data is not one valid JSON value")
	errNoData   = errors.New("the stored object has no data")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// put stores an object.
func (c *conn) put(path string, obj *meta.Object) error {
	s, err := c.prepare(putObject)
	if err != nil {
		return err
	}
	if err := bindObject(s, path, obj); err != nil {
		return err
	}
	c.carried(len(obj.Data))
	return s.Exec()
}

func bindObject(s *sqlite3.Stmt, path string, obj *meta.Object) error {
	return cmp.Or(
		s.BindInt64(createdColumn+1, obj.Created),
		s.BindInt64(updatedColumn+1, obj.Updated),
		s.BindInt64(revisionColumn+1, int64(obj.Revision)),
		s.BindInt64(expiresColumn+1, obj.Expires),
		s.BindRawText(dataColumn+1, obj.Data),
		s.BindInt64(checksumColumn+1, int64(checksum(path, obj))),
		s.BindText(pathColumn+1, path),
	)
}

// object reads the object at path from the current row of a statement. Its data is a copy. The error does not name
// the path.
func (c *conn) object(s *sqlite3.Stmt, path string) (meta.Object, error) {
	data := s.ColumnRawBlob(dataColumn)
	if len(data) == 0 {
		return meta.Object{}, cmp.Or(s.Err(), enginekit.Undecodable(errNoData))
	}
	c.carried(len(data))
	obj := meta.Object{
		Created:  s.ColumnInt64(createdColumn),
		Updated:  s.ColumnInt64(updatedColumn),
		Revision: uint64(s.ColumnInt64(revisionColumn)),
		Expires:  s.ColumnInt64(expiresColumn),
		Path:     path,
		Index:    key.LastIndex(path),
		Data:     make([]byte, len(data)),
	}
	copy(obj.Data, data)
	if s.ColumnType(checksumColumn) == sqlite3.NULL {
		// Another program wrote it. The table ensures that its numbers are numbers.
		if !jsonvalid.Grammar(obj.Data) {
			return meta.Object{}, enginekit.Undecodable(errNotJSON)
		}
		return obj, nil
	}
	if want, got := s.ColumnInt64(checksumColumn), checksum(path, &obj); want != int64(got) {
		return meta.Object{}, enginekit.Undecodable(fmt.Errorf("%w (computed %d, stored %d)", errChecksum, got, want))
	}
	return obj, nil
}

// checkStored checks the path of a row.
func checkStored(path string) error {
	if !key.IsValid(path) || key.HasGlob(path) {
		return fmt.Errorf("%w, in a row that another program wrote", storage.ErrInvalidPath)
	}
	return nil
}

// named prefixes an error with the path; it keeps nil.
func named(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("key %q: %w", path, err)
}

func checksum(path string, obj *meta.Object) uint32 {
	var numbers [32]byte
	binary.LittleEndian.PutUint64(numbers[0:], uint64(obj.Created))
	binary.LittleEndian.PutUint64(numbers[8:], uint64(obj.Updated))
	binary.LittleEndian.PutUint64(numbers[16:], obj.Revision)
	binary.LittleEndian.PutUint64(numbers[24:], uint64(obj.Expires))
	// crc32 only reads, and a []byte(path) would cost an allocation for each object.
	sum := crc32.Update(0, castagnoli, unsafe.Slice(unsafe.StringData(path), len(path)))
	sum = crc32.Update(sum, castagnoli, numbers[:])
	return crc32.Update(sum, castagnoli, obj.Data)
}
