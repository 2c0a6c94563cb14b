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
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storage/enginekit"
)

// The files beside the database. Their names are none of LevelDB's, so that it, and the older
// software, leave them alone.
const (
	revisionFile   = "OOLITH-KO"
	incompleteFile = "OOLITH-INCOMPLETE"

	noteName    = "oolith-ko"
	noteVersion = 1
)

// note is what the file OOLITH-KO says, in lines:
//
//	oolith-ko 1
//	revision 42
//	closed 0f343b0931126a20f133d67c2b018a3b
//	sum 1c291ca3
//
// The third line is "open" from the first commit on; then revision is ahead of all in use.
// The last is the CRC-32C of those before.
type note struct {
	// revision is the highest that was committed, or one ahead of it.
	revision uint64
	// fingerprint is that of readLogs after the layer was closed in order, with nothing in the
	// database but valid paths; empty otherwise.
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

// readNote reads the file OOLITH-KO. A database that has none gets the zero note.
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

// errNote is a note that is damaged. Without it revisions of deleted objects can come again,
// which is for its owner to decide.
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
		return note{}, fmt.Errorf("has version %d, this build knows up to %d: use a newer build", version, noteVersion)
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
	if string(n.encode()) != content { // that compares the sum too
		return note{}, errNote
	}
	return n, nil
}

// revisionBlock is how many revisions one write of the note makes room for.
const revisionBlock = 1 << 16

// revisions keeps the last revision, and the note of it ahead of it.
type revisions struct {
	disk disk

	// lock guards the fields below. It is held while the note is written, which others that
	// commit have to wait for.
	lock sync.Mutex
	// last is the highest revision that was committed.
	last uint64
	// reserved is what the note on the disk says while it is ahead; 0 before the first
	// commit, when it says the last one.
	reserved uint64
}

// reserve makes sure that the note is not behind a revision that is about to be committed.
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

// committed takes note of a revision that was committed.
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

// checkComplete refuses a database that is marked as incomplete.
func checkComplete(d disk) error {
	reason, err := d.ReadNote(incompleteFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", storage.ErrIncomplete, enginekit.OneLine(string(reason)))
}

// MarkIncomplete implements storage.IncompleteMarker. The mark is the file
// OOLITH-INCOMPLETE beside the database.
func (l *Layer) MarkIncomplete(reason string) error {
	return l.life.Write(func(d *database) error {
		if reason == "" {
			return d.disk.RemoveNote(incompleteFile)
		}
		return d.disk.WriteNote(incompleteFile, []byte(reason+"\n"))
	})
}
