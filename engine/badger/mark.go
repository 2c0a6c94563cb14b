package badger

import (
	"cmp"
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
// Badger treats the first unreadable entry of a log as the log's end, and likewise the first unreadable record of its
// list of tables: a crash leaves such ends. Files that are damaged, truncated, lost or outdated look the same, and
// everything after that point, although acknowledged, would silently be lost. The file SYNCED beside Badger's files
// therefore has the number of the last transaction that was acknowledged as synced. Transactions have consecutive
// numbers. The tables record their newest number, which a compaction keeps (revisionKey), and the logs have all
// numbers after it. If the numbers do not continue up to the mark, the store is rejected.
//
// The mark is written after each commit, and synced only by Close. A killed process therefore leaves it exact, and a
// crashed machine leaves a mark that is some moments old: it then demands less, and never more than exists.
//
// With DurabilityNoSync nothing is demanded, and the mark is 0 until Close. To continue with what is left of a
// damaged store, start it once in this mode.
const markFile = "SYNCED"

// markOf returns the content of the file. It always has the same length, and fits well within one sector of a disk.
func markOf(version uint64) string {
	number := fmt.Sprintf("%020d", version)
	return fmt.Sprintf("%s %08x\n", number, crc32.ChecksumIEEE([]byte(number)))
}

// readMark returns the number in the mark.
func readMark(dir string) (version uint64, err error) {
	content, err := readSmall(dir, markFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, withoutNewest("its file %s is missing", markFile)
	}
	if err != nil {
		return 0, err
	}
	if len(content) == len(markOf(0)) {
		version, err = strconv.ParseUint(content[:20], 10, 64)
	}
	if err != nil || content != markOf(version) {
		return 0, withoutNewest("its file %s is damaged", markFile)
	}
	return version, nil
}

// withoutNewest is corrupt, with an alternative if the newest writes are damaged.
func withoutNewest(format string, args ...any) error {
	return fmt.Errorf("%w, or start it once with sync=off, to go on without what was written last", corrupt(format, args...))
}

// resetMark creates the mark, or sets it to demand nothing.
func resetMark(dir string) error {
	return enginekit.WriteSynced(filepath.Join(dir, markFile), []byte(markOf(0)))
}

// openMark opens the mark of the store for updates.
func (s *store) openMark() (err error) {
	s.mark, err = os.OpenFile(filepath.Join(s.dir, markFile), os.O_RDWR, 0)
	return err
}

// moveMark stores the number of the last transaction.
func (s *store) moveMark() error {
	_, err := s.mark.WriteAt([]byte(markOf(s.version)), 0)
	return err
}

// closeMark closes the mark. If the store was closed cleanly, everything written is on disk.
func (s *store) closeMark(inOrder bool) error {
	if s.mark == nil {
		return nil
	}
	var err error
	if inOrder {
		err = cmp.Or(s.moveMark(), s.mark.Sync())
	}
	return cmp.Or(err, s.mark.Close())
}
