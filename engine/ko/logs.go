package ko

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"regexp"
	"slices"

	ldbstorage "github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/oolith-db/oolith/engine/internal/enginekit"
)

// This file reads the manifest, which is the list of the tables, and the logs before
// LevelDB does. LevelDB takes what it cannot read in them for the end that a crash cut
// short: it goes on with the rest, and removes the tables and logs that it then believes to be of
// no use. But what a crash cuts short is the last record, because each was synced before the
// next was written. So a sound record behind a broken one is damage, and refused.
//
// A machine that crashed while a log was written without sync can leave such damage too.

// currentFile names the manifest.
const currentFile = "CURRENT"

// currentForm is what it says. If it says anything else, LevelDB looks for an older copy of
// it, and would go back to what that names.
var currentForm = regexp.MustCompile(`^MANIFEST-[0-9]+\n$`)

// readLogs returns a fingerprint of the manifest and the logs, which changes whenever anyone
// opens the database; it is empty when there is none. Damage is a corruption error; the
// fingerprint is there all the same.
func readLogs(d disk) (fingerprint string, err error) {
	current, err := d.ReadNote(currentFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err == nil && !currentForm.Match(current) {
		return "", &corruption{fmt.Errorf("its file %s says %.40q, expected the name of a manifest", currentFile, current)}
	}
	manifest, err := d.GetMeta()
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	logs, err := d.List(ldbstorage.TypeJournal)
	if err != nil {
		return "", err
	}
	slices.SortFunc(logs, func(a, b ldbstorage.FileDesc) int { return cmp.Compare(a.Num, b.Num) })
	sum := sha256.New()
	var damaged error
	for _, fd := range append([]ldbstorage.FileDesc{manifest}, logs...) {
		fmt.Fprintln(sum, fd) // a hash takes all
		at, err := readLog(d, fd, sum)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", fd, err)
		}
		if at >= 0 && damaged == nil {
			damaged = &corruption{fmt.Errorf("its file %s is damaged at byte %d", fd, at)}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), damaged
}

// readLog reads a file into a hash and returns where it is damaged, or -1.
func readLog(d disk, fd ldbstorage.FileDesc, sum io.Writer) (damage int64, err error) {
	file, err := d.Open(fd)
	if err != nil {
		return 0, err
	}
	damage, err = findDamage(io.TeeReader(file, sum))
	return damage, enginekit.FirstError(err, file.Close())
}

// LevelDB's log format (its doc/log_format.md): blocks of 32 KiB, in them chunks that do not
// cross blocks, each with a masked CRC-32C over the type and the payload, a length and a type.
// A record is one full chunk, or a first one, any number of middle ones and a last one.
const (
	logBlock    = 32 << 10
	chunkHeader = 4 + 2 + 1

	fullChunk   = 1
	firstChunk  = 2
	middleChunk = 3
	lastChunk   = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// findDamage returns where the first broken chunk is that a sound beginning of a record
// follows, or -1. It reads to the end.
//
// The end of a record behind a broken chunk is no damage: a long record that a
// crash cut short may have reached the disk in any part.
func findDamage(r io.Reader) (int64, error) {
	f := damageFinder{broken: -1}
	block := make([]byte, logBlock)
	for offset := int64(0); ; offset += logBlock {
		n, err := io.ReadFull(r, block)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		if !f.damaged {
			f.read(block[:n], offset)
		}
		if n < logBlock {
			break
		}
	}
	if !f.damaged {
		return -1, nil
	}
	return f.broken, nil
}

type damageFinder struct {
	within  bool  // a record has begun and not ended
	broken  int64 // where the first broken chunk is; -1 for none yet
	damaged bool  // a record begins behind it
}

// read reads a block that begins at an offset.
func (f *damageFinder) read(block []byte, offset int64) {
	for at := 0; len(block)-at >= chunkHeader; { // less is filled with zeros
		size, kind := soundChunk(block[at:])
		begins := kind == fullChunk || kind == firstChunk
		if f.broken < 0 && (size == 0 || begins == f.within) {
			f.broken = offset + int64(at)
		}
		if begins && f.broken >= 0 {
			f.damaged = true
			return
		}
		f.within = kind == firstChunk || kind == middleChunk
		at += max(size, 1) // behind a broken one, any byte may be where a sound one begins
	}
}

// soundChunk returns the size and the type of the chunk at the beginning of the rest of a
// block; 0 and 0 if there is none.
func soundChunk(rest []byte) (size int, kind byte) {
	if len(rest) < chunkHeader {
		return 0, 0
	}
	size, kind = chunkHeader+int(binary.LittleEndian.Uint16(rest[4:])), rest[6]
	if kind < fullChunk || kind > lastChunk || size > len(rest) {
		return 0, 0
	}
	sum := crc32.Checksum(rest[6:size], castagnoli)
	if sum = sum>>15 | sum<<17; sum+0xa282ead8 != binary.LittleEndian.Uint32(rest) {
		return 0, 0
	}
	return size, kind
}
