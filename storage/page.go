package storage

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/meta"
)

// Reading lists in parts: iterators, pages, counts.

// ListOptions select a part of a list and its order. The zero value selects the whole list, oldest first.
type ListOptions struct {
	// Descending lists newest first.
	Descending bool
	// From and To limit Created, in Unix nanoseconds, both inclusive; nil for no limit.
	From, To *int64
	// Limit is the maximum number of objects in a page; 100 when zero. Iterations ignore it.
	Limit int
	// Cursor is Page.Next of the previous page; empty for the first page.
	Cursor string
	// Offset skips that many objects within From and To, in the requested order: a page by rank. Offset with a Cursor
	// fails with ErrInvalidOptions, a negative one with ErrInvalidLimit. For the whole list of one directory in
	// memory ("users/*") a search finds the rank. A partial glob, several directories, and lists from the persistent
	// layer also cost the skipped objects.
	//
	// Writes between two pages shift ranks. To follow a list, use Cursor.
	Offset int
}

const defaultPage = 100

// Page is a part of a list.
type Page struct {
	// Objects are in the requested order. Their Data is shared and read-only.
	Objects []meta.Object `json:"objects"`
	// Next is the cursor of the next page; empty on the last page.
	Next string `json:"next,omitempty"`
	// Revision is the revision of a commit. The page includes every change up to it, and may include later ones. A
	// subscription of the pattern with this revision as SubscribeOptions.From misses no change that the page lacks,
	// and may repeat some that it has. In a store without a commit it is 0, and a subscription from 0 begins with the
	// state.
	Revision uint64 `json:"revision"`
}

// Page reads a part of the list of objects that match a glob.
//
// A cursor is a position in the order of the list, by (Created, Path), not a number. Consecutive pages therefore show
// each object that exists throughout exactly once, whatever is written at the same time, unless a write changes its
// creation time (SetOptions.Times). A cursor is valid for the lifetime of the store, across restarts. Page returns
// ErrInvalidCursor for the cursor of another pattern, direction or store (if the persistent layer is Identified), and
// for a modified cursor.
//
// From memory a page costs its result, anywhere in the list, plus a look at each directory that the pattern matches.
// If lists come from the persistent layer, each page reads these directories; Iterate reads them once.
func (l *Layered) Page(pattern string, opt ListOptions) (Page, error) {
	page, err := l.page(pattern, opt)
	if err != nil {
		return Page{}, failed("page", pattern, err)
	}
	return page, nil
}

func (l *Layered) page(pattern string, opt ListOptions) (page Page, err error) {
	active, err := l.active()
	if err != nil {
		return Page{}, err
	}
	q, err := opt.query(pattern, active.id)
	if err != nil {
		return Page{}, err
	}
	switch {
	case opt.Limit < 0:
		return Page{}, ErrInvalidLimit
	case opt.Limit == 0:
		opt.Limit = defaultPage
	}
	// One more object shows whether there is a next page.
	q.Limit = min(opt.Limit, math.MaxInt-1) + 1
	r, err := l.query(q)
	if err != nil {
		return Page{}, err
	}
	page.Revision = r.visible()
	if page.Objects, err = r.view.list(q); err != nil {
		return Page{}, err
	}
	if len(page.Objects) > opt.Limit {
		page.Objects = page.Objects[:opt.Limit]
		page.Next = cursorOf(q, r.id, &page.Objects[opt.Limit-1])
	}
	return page, nil
}

// query builds the query of a list of a store, without a limit.
func (opt *ListOptions) query(pattern string, store uint64) (pathtree.Query, error) {
	q := pathtree.Everything(pattern)
	q.Descending = opt.Descending
	if opt.From != nil {
		q.From = *opt.From
	}
	if opt.To != nil {
		q.To = *opt.To
	}
	switch {
	case opt.Offset < 0:
		return q, fmt.Errorf("%w, offset %d, expected 0 or more", ErrInvalidLimit, opt.Offset)
	case opt.Offset > 0 && opt.Cursor != "":
		return q, fmt.Errorf("%w, both Offset and Cursor are set, expected one of them", ErrInvalidOptions)
	case opt.Cursor == "":
		q.Offset = opt.Offset
		return q, nil
	}
	var err error
	q.After, err = parseCursor(q, store, opt.Cursor)
	return q, err
}

// A cursor is base64 in the URL alphabet (RFC 4648, section 5, without padding) of: a version byte; a CRC-32C over
// pattern, direction, store and the rest; the time of the last object; its path.
const (
	cursorVersion = 1
	cursorHeader  = 1 + 4 + 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func cursorOf(q pathtree.Query, store uint64, last *meta.Object) string {
	raw := make([]byte, cursorHeader, cursorHeader+len(last.Path))
	raw[0] = cursorVersion
	binary.BigEndian.PutUint64(raw[5:], uint64(last.Created))
	raw = append(raw, last.Path...)
	binary.BigEndian.PutUint32(raw[1:], cursorSum(q, store, raw[5:]))
	return base64.RawURLEncoding.EncodeToString(raw)
}

// cursorSum ties a cursor to its list.
func cursorSum(q pathtree.Query, store uint64, place []byte) uint32 {
	direction := byte('a')
	if q.Descending {
		direction = 'd'
	}
	sum := crc32.Update(0, castagnoli, []byte(q.Pattern))
	sum = crc32.Update(sum, castagnoli, binary.BigEndian.AppendUint64([]byte{0, direction}, store))
	return crc32.Update(sum, castagnoli, place)
}

func parseCursor(q pathtree.Query, store uint64, cursor string) (*pathtree.Position, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	switch {
	case err != nil || len(raw) <= cursorHeader:
		return nil, fmt.Errorf("%w, %q, expected the Next of a page", ErrInvalidCursor, cursor)
	case raw[0] != cursorVersion:
		return nil, fmt.Errorf("%w, it has version %d, this build reads %d", ErrInvalidCursor, raw[0], cursorVersion)
	case binary.BigEndian.Uint32(raw[1:]) != cursorSum(q, store, raw[5:]):
		return nil, fmt.Errorf("%w, it belongs to another list, direction or store, or was modified", ErrInvalidCursor)
	}
	return &pathtree.Position{Created: int64(binary.BigEndian.Uint64(raw[5:])), Path: string(raw[cursorHeader:])}, nil
}

// Count returns the number of objects that match a glob. From memory, the cost does not depend on the number of
// objects in lists that match as a whole.
func (l *Layered) Count(pattern string) (int, error) {
	q := pathtree.Everything(pattern)
	r, err := l.query(q)
	if err != nil {
		return 0, failed("count", pattern, err)
	}
	n, err := r.view.count(pattern)
	if err != nil {
		return 0, failed("count", pattern, err)
	}
	return n, nil
}
