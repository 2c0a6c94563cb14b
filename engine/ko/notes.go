package ko

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/oolith-db/oolith/engine/internal/levelfiles"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// The files beside the database. LevelDB and the older software ignore files of these names.
const (
	revisionFile   = "OOLITH-KO"
	incompleteFile = "OOLITH-INCOMPLETE"

	noteName    = "oolith-ko"
	noteVersion = 1
)

// note is the content of the file OOLITH-KO, in lines:
//
//	oolith-ko 1
//	revision 42
//	closed 0f343b0931126a20f133d67c2b018a3b
//	sum 1c291ca3
//
// From the first commit on, the third line is "open", and revision is ahead of all revisions in use. The last line is
// the CRC-32C of the lines before it.
type note struct {
	// revision is the highest committed revision, or one ahead of it.
	revision uint64
	// fingerprint is the result of readLogs after the layer was closed cleanly, with only valid paths in the
	// database; empty otherwise.
	fingerprint string
}

func (n note) encode() []byte {
	state := "open"
	if n.fingerprint != "" {
		state = "closed " + n.fingerprint
	}
	text := fmt.Sprintf("%s %d\nrevision %d\n%s\n", noteName, noteVersion, n.revision, state)
	return fmt.Appendf(nil, "%ssum %08x\n", text, crc32.Checksum([]byte(text), levelfiles.Castagnoli))
}

// readNote reads the file OOLITH-KO. If there is none, it returns the zero note.
func readNote(d disk) (note, error) {
	content, err := d.ReadNote(revisionFile)
	if errors.Is(err, fs.ErrNotExist) {
		return note{}, nil
	}
	if err != nil {
		return note{}, err
	}
	n, err := parseNote(string(content))
	if err != nil {
		return note{}, fmt.Errorf("its file %s %w", revisionFile, err)
	}
	return n, nil
}

// errNote reports a damaged note. Without the note, revisions of deleted objects can be reused; the owner has to
// decide about that.
var errNote = errors.New("is damaged; restore it from a backup, or remove it, and the revisions " +
	"of objects that were deleted may be used again")

func parseNote(content string) (note, error) {
	first, rest, _ := strings.Cut(content, "\n")
	number, ok := strings.CutPrefix(first, noteName+" ")
	version, err := strconv.Atoi(number)
	if !ok || err != nil || version < 1 {
		return note{}, errNote
	}
	if version > noteVersion {
		return note{}, fmt.Errorf("has version %d, this build knows up to %d; use a newer build", version, noteVersion)
	}
	var n note
	revision, rest, _ := strings.Cut(rest, "\n")
	state, _, _ := strings.Cut(rest, "\n")
	revision, _ = strings.CutPrefix(revision, "revision ")
	if n.revision, err = strconv.ParseUint(revision, 10, 64); err != nil {
		return note{}, errNote
	}
	n.fingerprint, _ = strings.CutPrefix(state, "closed ")
	if state == "open" {
		n.fingerprint = ""
	}
	if string(n.encode()) != content { // this also compares the sum
		return note{}, errNote
	}
	return n, nil
}

// revisionBlock is the number of revisions that one write of the note reserves.
const revisionBlock = 1 << 16

// revisions keeps the last revision, and the note ahead of it.
type revisions struct {
	disk disk

	// lock guards the fields below. It is held while the note is written; other commits have to wait for that.
	lock sync.Mutex
	// last is the highest committed revision.
	last uint64
	// reserved is the revision in the note on disk while it is ahead; 0 before the first commit, when the note has
	// the last revision.
	reserved uint64
}

// reserve makes sure that the note is not behind a revision before its commit.
func (r *revisions) reserve(revision uint64) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	if revision <= r.reserved {
		return nil
	}
	ahead := revision + min(revisionBlock, math.MaxUint64-revision)
	if err := r.disk.WriteNote(revisionFile, note{revision: ahead}.encode()); err != nil {
		return err
	}
	r.reserved = ahead
	return nil
}

// committed records a committed revision.
func (r *revisions) committed(revision uint64) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.last = max(r.last, revision)
}

func (r *revisions) highest() uint64 {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.last
}

// checkComplete rejects a database that is marked as incomplete.
func checkComplete(d disk) error {
	reason, err := d.ReadNote(incompleteFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return enginekit.Incomplete(string(reason))
}

// MarkIncomplete implements storage.IncompleteMarker. The mark is the file OOLITH-INCOMPLETE beside the database.
func (l *Layer) MarkIncomplete(reason string) error {
	return l.life.Write(func(d *database) error {
		if reason == "" {
			return d.disk.RemoveNote(incompleteFile)
		}
		return d.disk.WriteNote(incompleteFile, []byte(reason+"\n"))
	})
}
