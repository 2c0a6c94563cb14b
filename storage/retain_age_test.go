package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// Retention by age, and when the layer fails.

// aged stores an object that was created some time ago. Within a bubble the store's own clock is
// another one than the test's.
func aged(t testing.TB, s *Layered, path string, ago time.Duration, opt SetOptions) meta.Object {
	t.Helper()
	opt.Times = &Times{Created: time.Now().Add(-ago).UnixNano()}
	obj, err := s.SetWith(path, json.RawMessage("1"), opt)
	must(t, err)
	return obj
}

func TestRetentionByAge(t *testing.T) {
	options := Options{Retention: []Retention{{Pattern: "l/*", Age: time.Hour}, {Pattern: "l/*", Age: 2 * time.Hour}, {Pattern: "m/*", Age: time.Minute}}}
	inBubble(t, options, nil, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		var seen tape
		s.Watch(seen.record)
		began := time.Now()
		plain := aged(t, s, "l/plain", 0, SetOptions{})
		aged(t, s, "l/short", 0, SetOptions{TTL: time.Minute})
		aged(t, s, "l/long", 0, SetOptions{TTL: 24 * time.Hour})
		aged(t, s, "l/older", 30*time.Minute, SetOptions{})
		aged(t, s, "l/tooold", time.Hour, SetOptions{})
		aged(t, s, "n/plain", 0, SetOptions{})
		if want := began.Add(time.Hour).UnixNano(); plain.Expires != want || object(t, s, "l/plain").Expires != want {
			t.Errorf("Expires is %d, want %d, an hour after Created", plain.Expires, want)
		}
		want := func(after time.Duration, names ...string) {
			t.Helper()
			time.Sleep(time.Until(began.Add(after)))
			var got []string
			list, err := s.GetList("l/*")
			must(t, err)
			for _, obj := range list {
				got = append(got, obj.Index)
			}
			slices.Sort(got)
			if !slices.Equal(got, names) {
				t.Errorf("after %v: %q, want %q", after, got, names)
			}
			synctest.Wait()
			checkLayer(t, k, s, fake)
		}
		want(time.Minute-1, "long", "older", "plain", "short")
		want(time.Minute, "long", "older", "plain")
		_, err := s.Update("l/plain", increment) // keeps its age
		must(t, err)
		must(t, second(s.Set("l/older", json.RawMessage("3"))))
		want(30*time.Minute, "long", "plain")
		want(time.Hour-1, "long", "plain")
		want(time.Hour)
		expect(t, s, "n/plain", "1")
		if lines := seen.lines(); !slices.Contains(lines, "del l/plain 2") || !slices.Contains(lines, "del l/tooold 1") {
			t.Errorf("saw %q", lines)
		}
	})
}

// A rule holds for what was there before it, and no longer than it is there: what the layer keeps is the
// object's own time to live.
func TestAgeThatChangesOverARestart(t *testing.T) {
	rule := func(age time.Duration) Options { return Options{Retention: []Retention{{Pattern: "l/*", Age: age}}} }
	inBubble(t, rule(time.Hour), persistent, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		began := time.Now()
		ends := map[string]time.Duration{"l/plain": 0, "l/updated": 0, "l/own": 24 * time.Hour, "l/ownupdated": 24 * time.Hour, "l/short": time.Minute}
		for path, ttl := range ends {
			aged(t, s, path, 0, SetOptions{TTL: ttl})
		}
		aged(t, s, "l/renewed", 0, SetOptions{TTL: 24 * time.Hour})
		for _, path := range []string{"l/updated", "l/ownupdated"} {
			expect(t, s, path, "1") // a cache holds it now
			for range 2 {
				_, err := s.Update(path, increment)
				must(t, err)
			}
		}
		set(t, s, "l/renewed", "2")
		ends["l/renewed"] = 0
		for path, ttl := range ends {
			want := int64(0)
			if ttl != 0 {
				want = began.Add(ttl).UnixNano()
			}
			if got := fake.content()[path].Expires; got != want {
				t.Errorf("the layer keeps %d as the end of %s, want %d", got, path, want)
			}
		}
		s.Close()
		must(t, s.Start(rule(48*time.Hour)))
		time.Sleep(time.Hour)
		keys, err := s.Keys()
		if want := []string{"l/own", "l/ownupdated", "l/plain", "l/renewed", "l/updated"}; err != nil || !slices.Equal(keys, want) {
			t.Errorf("under a longer age there are %q, %v, want %q", keys, err, want)
		}
		s.Close()
		must(t, s.Start(rule(30*time.Minute)))
		if n, err := s.Count("l/*"); n != 0 || err != nil {
			t.Errorf("under a shorter age there are %d, %v", n, err)
		}
		synctest.Wait()
		if n := len(fake.content()); n != 0 {
			t.Errorf("%d objects are left in the layer", n)
		}
	})
}

// Count and age on one list: what is expired does not count, though it is not removed yet, and costs no
// younger object its place.
func TestCountAndAge(t *testing.T) {
	options := Options{Retention: []Retention{{Pattern: "l/*", Count: 3, Age: time.Hour}}}
	inBubble(t, options, batching, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		for i := range 3 {
			aged(t, s, fmt.Sprintf("l/%d", i), time.Duration(59-i)*time.Minute, SetOptions{})
		}
		wantKeys := func(when string, want ...string) {
			t.Helper()
			keys, err := s.Keys()
			if err != nil || !slices.Equal(keys, want) {
				t.Errorf("%s there are %q, %v, want %q", when, keys, err, want)
			}
		}
		e := &s.run.Load().expirer
		e.mu.Lock()
		e.removing = true // as if a removal took its time: there is no other one
		e.mu.Unlock()
		time.Sleep(time.Minute)
		wantKeys("after a minute", "l/1", "l/2")
		aged(t, s, "l/3", 0, SetOptions{})
		wantKeys("with one more", "l/1", "l/2", "l/3")
		aged(t, s, "l/4", 0, SetOptions{})
		wantKeys("with another one", "l/2", "l/3", "l/4")
		aged(t, s, "l/0", 0, SetOptions{}) // in place of the expired one
		wantKeys("with the first one anew", "l/0", "l/3", "l/4")
		aged(t, s, "l/5", time.Hour, SetOptions{}) // born expired
		wantKeys("with one that is born expired", "l/0", "l/3", "l/4")
		born := func(path string) {
			_, err := s.SetWith(path, json.RawMessage("1"), SetOptions{Expires: 1})
			must(t, err)
		}
		born("l/9")
		wantKeys("with a newer one that is born expired", "l/0", "l/3", "l/4")
		born("l/3")
		wantKeys("with one that is overwritten by an expired one", "l/0", "l/4")
		aged(t, s, "l/3", 0, SetOptions{})
		wantKeys("with one in its place", "l/0", "l/3", "l/4")
		for i := range 100 { // more expired ones elsewhere than the list is long
			setTTL(t, s, fmt.Sprintf("m/%d", i), time.Minute)
		}
		time.Sleep(time.Hour)
		aged(t, s, "l/6", 0, SetOptions{})
		wantKeys("an hour later", "l/6")
		for i := range 3 {
			aged(t, s, fmt.Sprintf("l/n%d", i), 0, SetOptions{})
		}
		wantKeys("with three more", "l/n0", "l/n1", "l/n2")
		e.mu.Lock()
		e.removing, e.next = false, 0
		e.setLocked()
		e.mu.Unlock()
		synctest.Wait()
		checkLayer(t, k, s, fake)
	})
}

// A group whose list cannot be read fails, and what it had staged is forgotten; one whose removal
// is refused is committed, and its list is too long until the next write.
func TestRetentionWhenTheLayerFails(t *testing.T) {
	logger, logged := logs()
	options := Options{Retention: []Retention{{Pattern: "k/*", Count: 2}}, Logger: logger}
	each(t, options, func(k kind) bool { return k.batches && k.persistent }, func(t *testing.T, k kind, s *Layered, fake *fakeBatcher) {
		for i := range 2 {
			must(t, second(s.SetWithMeta(numbered(i), json.RawMessage(fmt.Sprint(i)), int64(i+1), 0)))
		}
		if k.fromLayer {
			restart(t, s) // the list has to be read
			var broken atomic.Bool
			broken.Store(true)
			fake.onCall(func(method, path string) error {
				if broken.Load() && (method == "Scan" || method == "GetList" || method == "Get" && path == numbered(1)) {
					return errors.New("broken entry")
				}
				return nil
			})
			three := committing(s, func(b *Batch) {
				b.Set(numbered(2), json.RawMessage("2"))
				b.Set(numbered(3), json.RawMessage("3"))
			})
			for range 2 {
				if err := three(); err == nil || !strings.Contains(err.Error(), "broken entry") || errors.Is(err, ErrWritesStopped) {
					t.Errorf("Commit = %v, want the error of the layer", err)
				}
			}
			broken.Store(false)
			wantData(t, s, "k/*", "0 1")
			if err := deleting(s, numbered(2))(); !errors.Is(err, ErrNotFound) {
				t.Errorf("a delete of what was not written = %v", err)
			}
			set(t, s, numbered(0), "0") // it is there, though its removal was staged
			if obj := object(t, s, numbered(0)); obj.Created != 1 {
				t.Errorf("an overwrite found nothing: %s", show(obj))
			}
		}
		before := len(logged())
		fake.onCommit(func(changes []Change) error {
			for i, c := range changes {
				if c.Object == nil {
					return &EntryError{Index: i, Err: errors.New("cannot delete")}
				}
			}
			return nil
		})
		set(t, s, numbered(4), "4")
		wantData(t, s, "k/*", "0 1 4")
		if text := logged()[before:]; !strings.Contains(text, "longer than its limit") || !strings.Contains(text, "cannot delete") {
			t.Errorf("the log says %s", text)
		}
		fake.onCommit(nil)
		set(t, s, numbered(5), "5")
		wantData(t, s, "k/*", "4 5")
		checkLayer(t, k, s, fake)
	})
}
