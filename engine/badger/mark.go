package badger

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/oolith-db/oolith/storage/enginekit"
)

// The mark.
//
// Badger takes the first entry of a log that it cannot read for the log's end, and likewise the first record of its
// list of tables: a crash leaves such ends. Files that are damaged, cut short, lost or of an older time look the same,
// and what was behind it, and acknowledged, would be gone without a word. So the file SYNCED beside Badger's files has
// the number of the last transaction that was acknowledged as synced. Transactions are numbered one after the other.
// The tables tell the newest in them, which a compaction keeps (revisionKey), and the logs have all behind it: where
// the numbers do not go on up to the mark, the store is refused.
//
// The mark is written after each commit, and synced by Close only. So a process that is killed leaves it exact, and a
// machine that crashes leaves one of some moments before: it demands less then, and never what is not there.
//
// With DurabilityNoSync nothing is demanded, and the mark is 0 until Close: to start a damaged store once so is the way
// to go on with what is left.
const markFile = "SYNCED"

// markOf is the content of the file. It has always the same length, and is well within one sector of a disk.
func markOf(version uint64) string {
	number := fmt.Sprintf("%020d", version)
	return fmt.Sprintf("%s %08x\n", number, crc32.ChecksumIEEE([]byte(number)))
}

// readMark returns the number in the mark.
func readMark(dir string) (version uint64, err error) {
	content, err := readSmall(dir, markFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w, %s: its file %s is missing", errCorrupt, orWithout, markFile)
	}
	if err != nil {
		return 0, err
	}
	if len(content) == len(markOf(0)) {
		version, err = strconv.ParseUint(content[:20], 10, 64)
	}
	if err != nil || content != markOf(version) {
		return 0, fmt.Errorf("%w, %s: its file %s is damaged", errCorrupt, orWithout, markFile)
	}
	return version, nil
}

// orWithout is what can be done instead where the newest writes are damaged.
const orWithout = "or start it once with sync=off, to go on without what was written last"

// resetMark makes the mark, or takes back what it demands.
func resetMark(dir string) error {
	return enginekit.WriteSynced(filepath.Join(dir, markFile), []byte(markOf(0)))
}

// openMark opens the mark of the store, to be moved.
func (s *store) openMark() (err error) {
	s.mark, err = os.OpenFile(filepath.Join(s.dir, markFile), os.O_RDWR, 0)
	return err
}

// moveMark notes the last transaction.
func (s *store) moveMark() error {
	_, err := s.mark.WriteAt([]byte(markOf(s.version)), 0)
	return err
}

// closeMark closes the mark. Of a store that was closed in order, all that was written is on the disk.
func (s *store) closeMark(inOrder bool) error {
	if s.mark == nil {
		return nil
	}
	var err error
	if inOrder {
		err = enginekit.FirstError(s.moveMark(), s.mark.Sync())
	}
	return enginekit.FirstError(err, s.mark.Close())
}
