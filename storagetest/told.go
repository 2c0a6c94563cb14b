package storagetest

import (
	"context"
	"fmt"
	"slices"

	"github.com/oolith-db/oolith/storage"
)

// Cursor is the result of Subscribe: a *storage.Subscription, or another type with the same rules.
type Cursor interface {
	Next(ctx context.Context) (storage.Notice, error)
	Revision() uint64
	Lag() int
	Close()
}

// subscriber is the Subscribe of a database.
type subscriber func(ctx context.Context, pattern string, opt storage.SubscribeOptions) (Cursor, error)

// subscriberOf returns the Subscribe of a database that has one, for any result type.
func subscriberOf(db storage.Database) (subscriber, bool) {
	switch s := db.(type) {
	case interface {
		Subscribe(ctx context.Context, pattern string, opt storage.SubscribeOptions) (*storage.Subscription, error)
	}:
		return func(ctx context.Context, pattern string, opt storage.SubscribeOptions) (Cursor, error) {
			sub, err := s.Subscribe(ctx, pattern, opt)
			if sub == nil {
				return nil, err
			}
			return sub, err
		}, true
	case interface {
		Subscribe(ctx context.Context, pattern string, opt storage.SubscribeOptions) (Cursor, error)
	}:
		return s.Subscribe, true
	}
	return nil, false
}

// Told is the record of one subscription from Subscribe to its end, for checking the guarantees. One goroutine
// records it with calls of Next.
type Told struct {
	Pattern string
	Options storage.SubscribeOptions
	// Notes are the notices in order of arrival.
	Notes []Note
	// Revision is the revision of the subscription at its end.
	Revision uint64
	// End is the error of the last Next; nil if the subscriber left before an error.
	End error
	// Before is the subscription that this one resumed, from its Revision; nil for none.
	Before *Told

	cursor Cursor
}

// Note is a notice and the state of the subscription directly after it.
type Note struct {
	storage.Notice
	// Bookmark is the Revision of the subscription after the notice.
	Bookmark uint64
}

// record starts a subscription and records everything it delivers.
func (s subscriber) record(ctx context.Context, pattern string, opt storage.SubscribeOptions) (*Told, error) {
	cursor, err := s(ctx, pattern, opt)
	if err != nil {
		return nil, err
	}
	return &Told{Pattern: pattern, Options: opt, cursor: cursor}, nil
}

// next records the next notice, or the end.
func (told *Told) next(ctx context.Context) error {
	n, err := told.cursor.Next(ctx)
	if err != nil {
		return err
	}
	told.Notes = append(told.Notes, Note{n, told.cursor.Revision()})
	return nil
}

// all records until the subscription or the context ends.
func (told *Told) all(ctx context.Context) {
	for told.End == nil {
		told.End = told.next(ctx)
	}
	told.close()
}

// close ends the subscription.
func (told *Told) close() {
	told.Revision = told.cursor.Revision()
	told.cursor.Close()
}

// isChange reports whether a notice is a change.
func isChange(n storage.Notice) bool {
	return n.Kind == storage.NoticeSet || n.Kind == storage.NoticeDel
}

// isState reports whether a notice is an existing object.
func isState(n storage.Notice) bool {
	return n.Kind == storage.NoticeState || n.Kind == storage.NoticeUnchanged
}

// part is the part of a subscription up to a NoticeReset or NoticeCatchUp, or to its end.
type part struct {
	told *Told
	// reset means that the part begins with NoticeReset, and catchUp that it begins with NoticeCatchUp. since is then
	// the revision from which it catches up.
	reset   bool
	catchUp bool
	since   uint64
	// state has the existing objects, unchanged or not.
	state   []Note
	live    *Note // nil if it was not delivered
	changes []Note
	// missed are the changes before live.
	missed []Note
	// bound is the highest revision that the subscription returned. Everything up to it must have been delivered.
	bound uint64
}

// parts splits the record of a subscription.
func (told *Told) parts() []*part {
	all := []*part{{told: told}}
	for i := range told.Notes {
		n, p := &told.Notes[i], all[len(all)-1]
		if (n.Kind == storage.NoticeReset || n.Kind == storage.NoticeCatchUp) && i > 0 {
			p = &part{told: told}
			all = append(all, p)
		}
		p.bound = max(p.bound, n.Bookmark)
		switch n.Kind {
		case storage.NoticeReset:
			p.reset = true
		case storage.NoticeCatchUp:
			p.catchUp, p.since = true, n.Bookmark
		case storage.NoticeState, storage.NoticeUnchanged:
			p.state = append(p.state, *n)
			if p.catchUp {
				p.since = max(p.since, n.Bookmark)
			}
		case storage.NoticeLive:
			p.live = n
		default:
			if p.live == nil {
				p.missed = append(p.missed, *n)
			}
			p.changes = append(p.changes, *n)
		}
	}
	last := all[len(all)-1]
	last.bound = max(last.bound, told.Revision)
	return all
}

// begin returns the revision after which a part begins, and whether it begins with a state.
func (p *part) begin() (revision uint64, state bool) {
	return p.told.Options.From, p.reset || p.catchUp || p.told.Options.From == 0
}

// Log is everything that was committed to an initially empty database, in order.
type Log struct {
	changes []storage.Notice
	// group numbers the changes: the keys of a batch or a glob delete have the same number.
	group []int
	// at is the index in changes of a key at a revision.
	at map[pathRevision]int
}

type pathRevision struct {
	path     string
	revision uint64
}

// add appends a change. more means that another key of the change follows.
func (l *Log) add(n storage.Notice) {
	group := 0
	if last := len(l.changes) - 1; last >= 0 {
		group = l.group[last]
		if !l.changes[last].More {
			group++
		}
	}
	if l.at == nil {
		l.at = make(map[pathRevision]int)
	}
	l.at[pathRevision{n.Path, n.Revision}] = len(l.changes)
	l.changes, l.group = append(l.changes, n), append(l.group, group)
}

// find returns the index of a delivered change in the log, or false if it was never committed.
func (l *Log) find(n storage.Notice) (int, bool) {
	at, ok := l.at[pathRevision{n.Path, n.Revision}]
	if !ok || !isChange(n) {
		return 0, false
	}
	want := l.changes[at]
	same := want.Kind == n.Kind && n.Object != nil && diff(*n.Object, *want.Object) == ""
	return at, same
}

// between returns the matching changes after one revision up to another.
func (l *Log) between(pattern string, from, to uint64) []storage.Notice {
	var found []storage.Notice
	for _, n := range l.changes {
		if n.Revision > from && n.Revision <= to && matches(pattern, n.Path) {
			found = append(found, n)
		}
	}
	return found
}

// content returns the objects that match a pattern at a revision: revisions by path.
func (l *Log) content(pattern string, revision uint64) map[string]uint64 {
	content := map[string]uint64{}
	for _, n := range l.changes {
		if n.Revision > revision {
			break
		}
		if !matches(pattern, n.Path) {
			continue
		}
		if n.Kind == storage.NoticeDel {
			delete(content, n.Path)
		} else {
			content[n.Path] = n.Revision
		}
	}
	return content
}

// matches is match, with "" as a pattern that matches everything.
func matches(pattern, path string) bool { return pattern == "" || match(pattern, path) }

// showNotice formats a notice for a failure message.
func showNotice(n storage.Notice) string {
	text := fmt.Sprintf("%s %q (revision %d)", n.Kind, n.Path, n.Revision)
	if n.Object != nil {
		text = fmt.Sprintf("%s %q %s (revision %d)", n.Kind, n.Path, short(string(n.Object.Data)), n.Revision)
	}
	if n.More {
		text += " with More"
	}
	return text
}

// String describes the subscription for a failure message.
func (told *Told) String() string {
	policy := []string{"LagReset", "LagNewest", "LagError"}[told.Options.Lag]
	if told.Options.CatchUp {
		policy += ", CatchUp"
	}
	return fmt.Sprintf("subscription to %q from %d (%s, buffer %d)", told.Pattern, told.Options.From, policy, told.Options.Buffer)
}

// around formats the notices near an index.
func (told *Told) around(at int) string {
	text := ""
	for i := max(0, at-4); i < min(len(told.Notes), at+4); i++ {
		text += "\n\t" + showNotice(told.Notes[i].Notice)
		if i == at {
			text += "   <---"
		}
	}
	return text
}

// place returns the index of a notice; 0 if it is absent.
func (told *Told) place(n storage.Notice) int {
	return max(0, slices.IndexFunc(told.Notes, func(other Note) bool {
		return other.Kind == n.Kind && other.Path == n.Path && other.Revision == n.Revision
	}))
}
