package storagetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks times to live and the retention of lists, if a database offers them.

var expiryClauses = []Clause{
	{"DATABASE-B0", "An object with a time to live is in all reads before its end, and in none from its end on.", onConditional(expiryReads)},
	{"DATABASE-B1", "The removal of an expired object sends a \"del\" with the object.", onConditional(expiryEvent)},
	{"DATABASE-B2", "A time to live is kept over a restart, and ends also while the database is closed.", onConditional(expiryRestart)},
	{"DATABASE-B3", "A write without a time to live ends that of its object, one with another renews it; Update keeps it.", onConditional(expiryRenewed)},
	{"DATABASE-B4", "For a write an expired object is absent: it makes a new one.", onConditional(expiredIsAbsent)},
	{"DATABASE-B5", "A time to live below zero is ErrInvalidTTL, and two ends of one are ErrInvalidOptions; nothing is written.", onConditional(expiryInvalid)},

	{"DATABASE-B6", "A list with a Count never shows more objects: the oldest make room for the new, in the same commit.", retentionCount},
	{"DATABASE-B7", "The objects of a list with an Age are gone that long after their Created.", retentionAge},
	{"DATABASE-B8", "A list that is longer than its Count when the database starts is cut to its newest.", retentionAtStart},
	{"DATABASE-B9", "Start refuses rules of retention that are invalid.", retentionInvalid},
}

// lifetime is long enough for a slow machine to read within it, and short enough to wait for.
const lifetime = 80 * time.Millisecond

// setTTL stores an object with a time to live.
func setTTL(t T, c conditional, path string, n int64, ttl time.Duration) meta.Object {
	t.Helper()
	obj, err := c.SetWith(path, dataOf(n), storage.SetOptions{TTL: ttl})
	must(t, "SetWith "+short(path)+" with a TTL", err)
	return obj
}

// showing returns the names of the reads that show the one object of a directory.
func showing(t T, db storage.Database, dir string) (shows []string) {
	t.Helper()
	path, pattern := dir+"/x", dir+"/*"
	reads := []struct {
		name string
		call func() (bool, error)
	}{
		{"Get", func() (bool, error) { _, err := db.Get(path); return err == nil, absentIsNone(err) }},
		{"Keys", func() (bool, error) { keys, err := db.Keys(); return slices.Contains(keys, path), err }},
		{"GetAndLock", func() (bool, error) {
			_, err := db.GetAndLock(path)
			if err == nil {
				return true, db.Unlock(path)
			}
			return false, absentIsNone(err)
		}},
	}
	for _, l := range listCalls {
		reads = append(reads, struct {
			name string
			call func() (bool, error)
		}{l.name, func() (bool, error) { list, err := l.call(db, pattern); return slices.Contains(list, path), err }})
	}
	for _, r := range reads {
		shown, err := r.call()
		must(t, r.name, err)
		if shown {
			shows = append(shows, r.name)
		}
	}
	if p, ok := db.(pager); ok {
		n, err := p.Count(pattern)
		must(t, "Count", err)
		page, err := p.Page(pattern, storage.ListOptions{})
		must(t, "Page", err)
		if n > 0 {
			shows = append(shows, "Count")
		}
		if len(page.Objects) > 0 {
			shows = append(shows, "Page")
		}
	}
	return shows
}

func absentIsNone(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

// expires waits until an object has expired.
func expires(obj meta.Object) { time.Sleep(time.Until(time.Unix(0, obj.Expires))) }

func expiryReads(t T, _ *subject, db storage.Database, c conditional) {
	set(t, db, "other/x", 1)
	everywhere := len(showing(t, db, "other"))
	for round := range 5 {
		dir := fmt.Sprintf("x%d", round)
		begun := time.Now()
		obj := setTTL(t, c, dir+"/x", 1, lifetime)
		end := time.Unix(0, obj.Expires)
		if obj.Expires == 0 || end.Before(begun.Add(lifetime).Add(-time.Millisecond)) || end.After(time.Now().Add(lifetime).Add(time.Millisecond)) {
			t.Errorf("Expires is %v, %v after the write, want %v", end, end.Sub(begun), lifetime)
		}
		// Reads that finished before the end all show it.
		if shows := showing(t, db, dir); len(shows) != everywhere && time.Now().Before(end) {
			t.Errorf("%v before its end an object is in %q only", time.Until(end), shows)
		}
		expires(obj)
		for range 3 {
			if shows := showing(t, db, dir); len(shows) != 0 {
				t.Errorf("%v after its end an object is in %q", time.Since(end), shows)
			}
		}
	}
	if _, err := c.SetWith("born/x", dataOf(1), storage.SetOptions{Expires: 1}); err != nil {
		t.Errorf("SetWith with an end that has passed: %v", err)
	}
	if shows := showing(t, db, "born"); len(shows) != 0 {
		t.Errorf("an object that was born expired is in %q", shows)
	}
	if len(showing(t, db, "other")) != everywhere {
		t.Errorf("an object without a time to live is gone")
	}
}

func expiryEvent(t T, s *subject, db storage.Database, c conditional) {
	events := collect(t, db)
	obj := setTTL(t, c, "e/x", 1, lifetime)
	expires(obj)
	// If the layer cannot report what expires, a read triggers the removal.
	_, err := db.Get("e/x")
	wantErr(t, "Get of an expired object", err, storage.ErrNotFound)
	if !events.arrives(s, func(e storage.Event) bool { return e.Key == "e/x" && e.Operation == storage.OperationDel }) {
		t.Fatalf("no event of the removal, %s; those that came: %s", s.impatient(), showAll(events.all()))
	}
	set(t, db, "e/x", 2)
	if !events.arrives(s, func(e storage.Event) bool { return e.Object != nil && numberOf(e.Object.Data) == 2 }) {
		t.Errorf("no event of a write after the removal")
	}
	got := events.of("e/x")
	if len(got) != 3 {
		t.Fatalf("the events of a write, a removal and a write are %s", showAll(got))
	}
	for i, want := range []storage.Event{
		{Key: "e/x", Operation: storage.OperationSet, Object: &obj},
		{Key: "e/x", Operation: storage.OperationDel, Object: &obj},
	} {
		if !sameEvent(got[i], want) {
			t.Errorf("event %d is %s, want %s", i, show(got[i]), show(want))
		}
	}
}

func expiryRestart(t T, s *subject, db storage.Database, c conditional) {
	if !s.Persistent {
		t.Logf("not Persistent: nothing is checked")
		return
	}
	long := setTTL(t, c, "r/long", 1, time.Hour)
	brief := setTTL(t, c, "r/brief", 2, lifetime)
	stays := set(t, db, "r/stays", 3)
	db.Close()
	expires(brief)
	db = s.restarted(t, db)
	wantContent(t, db, long, stays)
	c, ok := db.(conditional)
	if !ok {
		t.Fatalf("%T has no SetWith after a restart", db)
	}
	next := setTTL(t, c, "r/next", 4, lifetime)
	db = s.restarted(t, db)
	expires(next)
	wantContent(t, db, long, stays)
}

func expiryRenewed(t T, _ *subject, db storage.Database, c conditional) {
	ends := setTTL(t, c, "w/ends", 1, lifetime)
	ended := set(t, db, "w/ends", 2)
	setTTL(t, c, "w/renewed", 1, lifetime)
	renewed := setTTL(t, c, "w/renewed", 2, time.Hour)
	setTTL(t, c, "w/shorter", 1, time.Hour)
	shorter := setTTL(t, c, "w/shorter", 2, lifetime)
	want := []meta.Object{ended, renewed}
	last := shorter
	if u, ok := db.(updater); ok {
		kept := setTTL(t, c, "w/kept", 1, time.Hour)
		updated, err := u.Update("w/kept", increment)
		must(t, "Update", err)
		if updated.Expires != kept.Expires {
			t.Errorf("Expires after an update is %d, want %d as before", updated.Expires, kept.Expires)
		}
		want = append(want, updated)
		last = setTTL(t, c, "w/brief", 1, lifetime)
		if _, err = u.Update("w/brief", increment); err != nil {
			t.Errorf("Update: %v", err)
		}
	}
	if ended.Expires != 0 {
		t.Errorf("Expires after a write without a time to live is %d, want 0", ended.Expires)
	}
	if renewed.Expires <= ends.Expires {
		t.Errorf("Expires after a renewal is %d, it was about %d", renewed.Expires, ends.Expires)
	}
	expires(last)
	wantContent(t, db, want...)
}

func expiredIsAbsent(t T, _ *subject, db storage.Database, c conditional) {
	for i, write := range []struct {
		name string
		call func(path string, old meta.Object) error
		want error
	}{
		{"Set", func(p string, _ meta.Object) error { _, err := db.Set(p, dataOf(2)); return err }, nil},
		{"SetWith if absent", func(p string, _ meta.Object) error {
			_, err := c.SetWith(p, dataOf(2), storage.SetOptions{IfAbsent: true})
			return err
		}, nil},
		{"SetWith of its revision", func(p string, old meta.Object) error {
			_, err := c.SetWith(p, dataOf(2), storage.SetOptions{IfRevision: old.Revision})
			return err
		}, storage.ErrConflict},
		{"Del", func(p string, _ meta.Object) error { return db.Del(p) }, storage.ErrNotFound},
		{"DelWith of its revision", func(p string, old meta.Object) error {
			return c.DelWith(p, storage.DelOptions{IfRevision: old.Revision})
		}, storage.ErrConflict},
	} {
		path := fmt.Sprintf("a/%d", i)
		old := setTTL(t, c, path, 1, lifetime/8)
		expires(old)
		err := write.call(path, old)
		if write.want != nil {
			wantErr(t, write.name+" of an expired object", err, write.want)
			continue
		}
		must(t, write.name+" of an expired object", err)
		if got := get(t, db, path); got.Created == old.Created || got.Updated != 0 || got.Expires != 0 || numberOf(got.Data) != 2 {
			t.Errorf("%s of an expired object made created %d, updated %d, expires %d, %s; want a new one, the old was created %d",
				write.name, got.Created, got.Updated, got.Expires, got.Data, old.Created)
		}
	}
}

func expiryInvalid(t T, _ *subject, db storage.Database, c conditional) {
	there := set(t, db, "i/a", 1)
	for _, bad := range []struct {
		opt  storage.SetOptions
		want error
	}{
		{storage.SetOptions{TTL: -1}, storage.ErrInvalidTTL},
		{storage.SetOptions{TTL: math.MinInt64}, storage.ErrInvalidTTL},
		{storage.SetOptions{Expires: -1}, storage.ErrInvalidTTL},
		{storage.SetOptions{TTL: time.Hour, Expires: math.MaxInt64}, storage.ErrInvalidOptions},
	} {
		what := fmt.Sprintf("with a TTL of %v and an end of %d", bad.opt.TTL, bad.opt.Expires)
		_, err := c.SetWith("i/a", dataOf(2), bad.opt)
		wantErr(t, "SetWith "+what, err, bad.want)
		_, err = c.PushWith("i/*", dataOf(2), bad.opt)
		wantErr(t, "PushWith "+what, err, bad.want)
	}
	wantContent(t, db, there)
	if far, err := c.SetWith("i/a", dataOf(2), storage.SetOptions{TTL: math.MaxInt64}); err != nil {
		t.Errorf("SetWith with the longest TTL: %v", err)
	} else if got := get(t, db, "i/a"); diff(got, far) != "" {
		t.Errorf("Get of an object with the longest TTL: %s", diff(got, far))
	}
}

// retaining returns a started database with rules. It returns nil if the database has no conditions, and so no such
// options, or if its layer cannot enforce a count.
func (s *subject) retaining(t T, rules ...storage.Retention) storage.Database {
	t.Helper()
	db := s.openDatabase(t)
	if _, ok := db.(conditional); !ok {
		t.Logf("%T has no SetWith: nothing is checked", db)
		return nil
	}
	opts := quiet(storage.Options{Retention: rules})
	if err := db.Start(opts); errors.Is(err, storage.ErrBatchUnsupported) {
		t.Logf("%T cannot keep a Count: nothing is checked", db)
		return nil
	} else if err != nil {
		t.Fatalf("Start with Retention: %v", err)
	}
	t.Cleanup(db.Close)
	return db
}

func retentionCount(t T, s *subject) {
	const limit, goroutines, rounds = 5, 3, 30
	db := s.retaining(t, storage.Retention{Pattern: "logs/*/lines/*", Count: limit})
	if db == nil {
		return
	}
	var kept []string
	for i := range int64(8) {
		index, err := db.Push("logs/a/lines/*", dataOf(i))
		must(t, "Push", err)
		kept = append(kept, "logs/a/lines/"+index)
		set(t, db, fmt.Sprintf("other/%d", i), i)
		list, err := db.GetList("logs/a/lines/*")
		must(t, "GetList", err)
		if len(list) > limit {
			t.Errorf("GetList after push %d has %d objects, the limit is %d", i, len(list), limit)
		}
	}
	list, err := db.GetList("logs/a/lines/*")
	must(t, "GetList", err)
	wantPaths(t, "GetList", paths(list), kept[3:])
	if list, err := db.GetList("other/*"); err != nil || len(list) != 8 {
		t.Errorf("GetList of a directory without a rule has %d objects (error %v), want 8", len(list), err)
	}
	setAt(t, db, object("logs/a/lines/old", 1)) // older than all others
	_, err = db.Get("logs/a/lines/old")
	wantErr(t, "Get of an object that is older than a full list", err, storage.ErrNotFound)

	done := make(chan struct{})
	s.together(t, goroutines+1, func(g int) {
		if g == goroutines {
			for {
				select {
				case <-done:
					return
				default:
				}
				list, err := db.GetList("logs/b/lines/*")
				if err != nil || len(list) > limit {
					t.Errorf("GetList during pushes has %d objects (error %v), the limit is %d", len(list), err, limit)
					<-done
					return
				}
			}
		}
		for i := range int64(rounds) {
			s.beats.advance()
			if _, err := db.Push("logs/b/lines/*", dataOf(i)); err != nil {
				t.Errorf("Push: %v", err)
			}
		}
		if g == 0 {
			close(done)
		}
	})
	if list, err := db.GetList("logs/b/lines/*"); err != nil || len(list) != limit {
		t.Errorf("GetList after %d pushes has %d objects (error %v), want %d", goroutines*rounds, len(list), err, limit)
	}
}

func retentionAge(t T, s *subject) {
	db := s.retaining(t, storage.Retention{Pattern: "days/*", Age: time.Hour})
	if db == nil {
		return
	}
	now := time.Now().UnixNano()
	hour := int64(time.Hour)
	setAt(t, db, object("other/old", now-2*hour))
	setAt(t, db, object("days/young", now-hour/2))
	for name, age := range map[string]int64{"days/old": 2 * hour, "days/justold": hour} {
		obj := object(name, now-age)
		if _, err := db.SetWithMeta(obj.Path, obj.Data, obj.Created, 0); err != nil {
			t.Errorf("SetWithMeta of an old object: %v", err)
		}
	}
	soon := object("days/soon", now-hour+int64(lifetime))
	if _, err := db.SetWithMeta(soon.Path, soon.Data, soon.Created, 0); err != nil {
		t.Errorf("SetWithMeta: %v", err)
	}
	time.Sleep(time.Until(time.Unix(0, soon.Created+hour)))
	keys, err := db.Keys()
	must(t, "Keys", err)
	wantPaths(t, "Keys", keys, []string{"days/young", "other/old"})
	if got := get(t, db, "days/young").Expires; got != now+hour/2 {
		t.Errorf("Expires of an object under an age is %d, want %d, an hour after its Created", got, now+hour/2)
	}
}

func retentionAtStart(t T, s *subject) {
	if !s.Persistent {
		t.Logf("not Persistent: nothing is checked")
		return
	}
	db := s.retaining(t, storage.Retention{Pattern: "none/*", Count: 1})
	if db == nil {
		return
	}
	for i := range int64(6) {
		setAt(t, db, object(fmt.Sprintf("l/a/%d", (i*5)%6), i+1))
		setAt(t, db, object(fmt.Sprintf("l/b/%d", i), i+1))
	}
	db.Close()
	if s.Reopen != nil {
		db = s.Reopen(t, db)
	}
	startDatabase(t, db, storage.Options{Retention: []storage.Retention{{Pattern: "l/*/*", Count: 4}, {Pattern: "l/b/*", Count: 2}}})
	keys, err := db.KeysRange("l/*/*", math.MinInt64, math.MaxInt64)
	must(t, "KeysRange", err)
	wantPaths(t, "KeysRange after the start", keys, []string{"l/a/4", "l/a/3", "l/a/2", "l/b/4", "l/a/1", "l/b/5"})
	db.Close()
	if s.Reopen != nil {
		db = s.Reopen(t, db)
	}
	startDatabase(t, db, storage.Options{Retention: []storage.Retention{}})
	keys, err = db.KeysRange("l/*/*", math.MinInt64, math.MaxInt64)
	must(t, "KeysRange", err)
	wantPaths(t, "KeysRange after a start without rules", keys, []string{"l/a/4", "l/a/3", "l/a/2", "l/b/4", "l/a/1", "l/b/5"})
}

func retentionInvalid(t T, s *subject) {
	for _, bad := range []struct {
		rule storage.Retention
		want error
	}{
		{storage.Retention{Count: 1}, storage.ErrInvalidPath},
		{storage.Retention{Pattern: "a//*", Age: 1}, storage.ErrInvalidPath},
		{storage.Retention{Pattern: "a/b", Age: 1}, storage.ErrInvalidPattern},
		{storage.Retention{Pattern: "*/b", Age: 1}, storage.ErrInvalidPattern},
		{storage.Retention{Pattern: "a/b*", Age: 1}, storage.ErrInvalidPattern},
		{storage.Retention{Pattern: "a/*", Count: -1}, storage.ErrInvalidLimit},
		{storage.Retention{Pattern: "a/*", Age: -1}, storage.ErrInvalidTTL},
	} {
		db := s.openDatabase(t)
		if _, ok := db.(conditional); !ok {
			t.Logf("%T has no SetWith: nothing is checked", db)
			return
		}
		err := db.Start(quiet(storage.Options{Retention: []storage.Retention{bad.rule}}))
		wantErr(t, fmt.Sprintf("Start with the rule %+v", bad.rule), err, bad.want)
		if db.Active() {
			t.Errorf("a database with the rule %+v is active", bad.rule)
			db.Close()
		}
		startDatabase(t, db, storage.Options{Retention: []storage.Retention{}})
		db.Close()
	}
}
