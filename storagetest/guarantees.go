package storagetest

import (
	"errors"
	"maps"
	"math"

	"github.com/oolith-db/oolith/storage"
)

// Guarantee is a guarantee of a subscription.
type Guarantee struct {
	// Name is one word, for example "ordered".
	Name string
	// Demand is the guarantee in one sentence.
	Demand string
	// Check reports where the recorded notices of a subscription violate the guarantee.
	Check func(t T, told *Told, log *Log)
}

// Guarantees returns the guarantees of a subscription. Each check tests only its own guarantee: a missing change, for
// example, is a matter of "reliable" only.
func Guarantees() []Guarantee {
	return []Guarantee{
		{"ordered", "Changes come in commit order: their revisions never go back.", CheckOrdered},
		{"unique", "No change comes twice, over any number of resumptions.", CheckUnique},
		{"atomic", "The keys of a batch or a glob delete come one behind the other, all that match, with More on each but the last.", CheckAtomic},
		{"reliable", "Every matching change comes, as it was committed, and nothing else.", CheckReliable},
		{"whole", "A state is all that matched at the revision of its NoticeLive, and nothing else.", CheckWhole},
		{"resumable", "A subscription that resumes gets exactly what was committed since, or is told to begin anew; one that catches up is told which objects changed since the revision that it gave, and which did not.", CheckResumable},
		{"bookmarked", "A revision that a subscription gives, by NoticeLive or Revision, never goes back, and nothing up to it comes later; within a state there is none.", CheckBookmarked},
	}
}

// CheckOrdered checks that changes arrive in commit order. The keys of a glob delete share a revision.
func CheckOrdered(t T, told *Told, _ *Log) {
	t.Helper()
	var last uint64
	for i, n := range told.Notes {
		if !isChange(n.Notice) {
			continue
		}
		if n.Revision < last {
			t.Errorf("%v: revision %d comes after %d:%s", told, n.Revision, last, told.around(i))
			return
		}
		last = n.Revision
	}
}

// CheckUnique checks that no change, and no object of one state, is delivered twice. A subscription that resumes
// repeats the delivered part of an interrupted batch or glob delete.
func CheckUnique(t T, told *Told, _ *Log) {
	t.Helper()
	seen := map[pathRevision]bool{}
	if before := told.Before; before != nil {
		for _, n := range before.Notes {
			if isChange(n.Notice) && n.Revision <= told.Options.From {
				seen[pathRevision{n.Path, n.Revision}] = true
			}
		}
	}
	state := map[string]bool{}
	for i, n := range told.Notes {
		key := pathRevision{n.Path, n.Revision}
		switch {
		case n.Kind == storage.NoticeReset, n.Kind == storage.NoticeCatchUp:
			clear(state)
		case isState(n.Notice) && state[n.Path], isChange(n.Notice) && seen[key]:
			t.Errorf("%v: it comes twice:%s", told, told.around(i))
			return
		case isState(n.Notice):
			state[n.Path] = true
		case isChange(n.Notice):
			seen[key] = true
		}
	}
}

// CheckAtomic checks that the keys of a change arrive together, and that More is set on all but the last.
func CheckAtomic(t T, told *Told, log *Log) {
	t.Helper()
	notes := told.once()
	for i := 0; i < len(notes); i++ {
		at, ok := log.find(notes[i].Notice)
		if !ok {
			continue
		}
		// The consecutive notices of this change.
		end := i + 1
		for end < len(notes) {
			next, ok := log.find(notes[end].Notice)
			if !ok || log.group[next] != log.group[at] {
				break
			}
			end++
		}
		run := notes[i:end]
		// A subscriber that leaves in the middle of a change has only a part of it.
		left := end == len(notes) && run[len(run)-1].More &&
			!errors.Is(told.End, storage.ErrNotActive) && !errors.Is(told.End, storage.ErrLagged)
		for k, n := range run {
			if more := k < len(run)-1 || left; n.More != more {
				t.Errorf("%v: that another key of the same change follows is %v, and it tells %s:%s", told, more, showNotice(n.Notice), told.around(told.place(n.Notice)))
				return
			}
		}
		if want := told.keysOf(log, at); !left && len(run) != want && told.Options.Lag != storage.LagNewest {
			t.Errorf("%v: of a change of %d keys that match %d come one behind the other, %s the first",
				told, want, len(run), showNotice(run[0].Notice))
			return
		}
		i = end - 1
	}
}

// once returns the notes without repeated changes.
func (told *Told) once() (notes []Note) {
	seen := map[pathRevision]bool{}
	for _, n := range told.Notes {
		key := pathRevision{n.Path, n.Revision}
		if isChange(n.Notice) && seen[key] {
			continue
		}
		seen[key] = seen[key] || isChange(n.Notice)
		notes = append(notes, n)
	}
	return notes
}

// keysOf returns how many keys of a change in the log the subscription must deliver. One that resumes in the middle
// of a batch gets the rest.
func (told *Told) keysOf(log *Log, at int) (keys int) {
	group := log.group[at]
	for at > 0 && log.group[at-1] == group {
		at--
	}
	for ; at < len(log.changes) && log.group[at] == group; at++ {
		if n := log.changes[at]; matches(told.Pattern, n.Path) && n.Revision > told.Options.From {
			keys++
		}
	}
	return keys
}

// CheckReliable checks that after each NoticeLive every matching change is delivered, up to the highest revision of
// the subscription before a NoticeReset or at its end. With LagNewest this applies to the newest change of each key.
// A delivered change must have been committed.
func CheckReliable(t T, told *Told, log *Log) {
	t.Helper()
	for i, n := range told.Notes {
		if !isChange(n.Notice) {
			continue
		}
		if _, ok := log.find(n.Notice); !ok || !matches(told.Pattern, n.Path) {
			t.Errorf("%v: it tells what was not committed, or does not match:%s", told, told.around(i))
			return
		}
	}
	for _, p := range told.parts() {
		if p.live == nil || p.bound <= p.live.Revision {
			continue
		}
		if told.Options.Lag == storage.LagNewest {
			told.wantNewest(t, log, p)
			continue
		}
		had := map[pathRevision]bool{}
		for _, n := range p.changes {
			had[pathRevision{n.Path, n.Revision}] = true
		}
		for _, n := range log.between(told.Pattern, p.live.Revision, p.bound) {
			if !had[pathRevision{n.Path, n.Revision}] {
				t.Errorf("%v: live at %d, all told up to %d, but for %s", told, p.live.Revision, p.bound, showNotice(n))
				return
			}
		}
	}
}

// wantNewest checks that the newest change of each key was delivered. A change is superseded by a newer one after all
// delivered ones, which may be waiting. The delete of an object that was never delivered need not be delivered.
func (told *Told) wantNewest(t T, log *Log, p *part) {
	t.Helper()
	had := map[string]uint64{}
	// Other guarantees check what was delivered up to NoticeLive.
	known := log.content(told.Pattern, p.live.Revision)
	for _, n := range p.changes {
		if n.Revision <= max(had[n.Path], p.live.Revision) {
			continue // other guarantees check the order
		}
		had[n.Path] = n.Revision
		if known[n.Path] = n.Revision; n.Kind == storage.NoticeDel {
			delete(known, n.Path)
		}
	}
	newest := map[string]storage.Notice{}
	for _, n := range log.between(told.Pattern, p.live.Revision, math.MaxUint64) {
		newest[n.Path] = n
	}
	for path, n := range newest {
		if _, knows := known[path]; n.Kind == storage.NoticeDel && !knows {
			continue
		}
		if n.Revision <= p.bound && had[path] < n.Revision {
			t.Errorf("%v: live at %d, all told up to %d, but for %s", told, p.live.Revision, p.bound, showNotice(n))
			return
		}
	}
}

// CheckWhole checks each completely delivered state against the log.
func CheckWhole(t T, told *Told, log *Log) {
	t.Helper()
	for _, p := range told.parts() {
		if _, state := p.begin(); !state || p.live == nil {
			continue
		}
		got := map[string]uint64{}
		for _, n := range p.state {
			got[n.Path] = n.Revision
			if at, ok := log.at[pathRevision{n.Path, n.Revision}]; ok {
				if d := diff(*n.Object, *log.changes[at].Object); d != "" {
					t.Errorf("%v: a state has %s: %s", told, showNotice(n.Notice), d)
					return
				}
			}
		}
		if want := log.content(told.Pattern, p.live.Revision); !maps.Equal(got, want) {
			t.Errorf("%v: the state of revision %d has, by path and revision, %v, want %v", told, p.live.Revision, got, want)
			return
		}
	}
}

// CheckResumable checks that a subscription that resumes first delivers everything committed between its revision and
// its NoticeLive, without a state, unless it begins with a NoticeReset. If it catches up, NoticeState must be the
// objects changed after its revision, and NoticeUnchanged the others.
func CheckResumable(t T, told *Told, log *Log) {
	t.Helper()
	for _, p := range told.parts() {
		for _, n := range p.state {
			if changed := !p.catchUp || n.Revision > p.since; changed != (n.Kind == storage.NoticeState) {
				t.Errorf("%v: it catches up from %d, and tells %s", told, p.since, showNotice(n.Notice))
				return
			}
		}
	}
	p := told.parts()[0]
	from, state := p.begin()
	if state || p.live == nil {
		if len(p.missed) > 0 && state {
			t.Errorf("%v: a change comes before the end of the state: %s", told, showNotice(p.missed[0].Notice))
		}
		return
	}
	if len(p.state) > 0 {
		t.Errorf("%v: a state comes, and no NoticeReset: %s", told, showNotice(p.state[0].Notice))
		return
	}
	had := map[pathRevision]bool{}
	for _, n := range p.changes {
		had[pathRevision{n.Path, n.Revision}] = true
		if n.Revision <= from {
			t.Errorf("%v: it tells %s", told, showNotice(n.Notice))
			return
		}
	}
	for _, n := range log.between(told.Pattern, from, p.live.Revision) {
		if !had[pathRevision{n.Path, n.Revision}] {
			t.Errorf("%v: live at %d, and %s is not told", told, p.live.Revision, showNotice(n))
			return
		}
	}
}

// CheckBookmarked checks that everything delivered after a revision of the subscription is newer, and that a
// NoticeLive comes after its state and is not older.
func CheckBookmarked(t T, told *Told, _ *Log) {
	t.Helper()
	var given, state, since uint64 // since is the revision from which a subscription that catches up may be resumed
	live := false
	for i, n := range told.Notes {
		late := false
		switch n.Kind {
		case storage.NoticeReset:
			live, state, since = false, 0, 0
		case storage.NoticeCatchUp:
			live, state, since = false, 0, n.Bookmark
			late = n.Revision < given || since < given || since > n.Revision
		case storage.NoticeState, storage.NoticeUnchanged:
			late = live
			state = max(state, n.Revision)
		case storage.NoticeLive:
			late = live || n.Revision < state || n.Revision < given
			live = true
			given = max(given, n.Revision)
		default:
			late = n.Revision <= given
		}
		if !live && n.Bookmark != since && (n.Kind == storage.NoticeReset || n.Kind == storage.NoticeCatchUp || isState(n.Notice)) {
			t.Errorf("%v: revision %d is given within a state, and who resumes from it has but a part of that:%s", told, n.Bookmark, told.around(i))
			return
		}
		if late || n.Bookmark < given && live {
			t.Errorf("%v: revision %d was given before, then %d:%s", told, given, n.Bookmark, told.around(i))
			return
		}
		given = max(given, n.Bookmark)
	}
	if last := len(told.Notes) - 1; last >= 0 && !live && told.Notes[last].Bookmark == 0 && told.Revision == 0 {
		return // it ended within a state
	}
	if told.Revision < given {
		t.Errorf("%v: revision %d was given, at the end it is %d", told, given, told.Revision)
	}
}
