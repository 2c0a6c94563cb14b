package storagetest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// This file checks validation, times and the order of writes.

// writeCall is a call that writes data at a path.
type writeCall struct {
	name string
	call func(db storage.Database, path string, data json.RawMessage) error
}

var setCalls = []writeCall{
	{"Set", func(db storage.Database, path string, data json.RawMessage) error {
		_, err := db.Set(path, data)
		return err
	}},
	{"SetWithMeta", func(db storage.Database, path string, data json.RawMessage) error {
		_, err := db.SetWithMeta(path, data, 5, 6)
		return err
	}},
}

func writeInvalidPath(t T, _ *subject, db storage.Database) {
	obj := set(t, db, "a/b", 1)
	for _, c := range invalidPaths {
		for _, w := range setCalls {
			wantErr(t, w.name+", "+c.name, w.call(db, c.path, dataOf(2)), storage.ErrInvalidPath)
		}
		for _, d := range delCalls {
			wantErr(t, d.name+", "+c.name, d.call(db, c.path), storage.ErrInvalidPath)
		}
	}
	for _, c := range invalidPatterns {
		_, err := db.Push(c.path, dataOf(2))
		wantErr(t, "Push, "+c.name, err, storage.ErrInvalidPath)
		for _, d := range delCalls {
			wantErr(t, d.name+", "+c.name, d.call(db, c.path), storage.ErrInvalidPath)
		}
	}
	wantContent(t, db, obj)
}

func writeGlob(t T, _ *subject, db storage.Database) {
	obj := set(t, db, "a/b", 1)
	for _, path := range []string{"*", "a/*", "*/b", "a/b*", "a/*b", "a/*/b"} {
		for _, w := range setCalls {
			wantErr(t, w.name+" "+path, w.call(db, path, dataOf(2)), storage.ErrGlobNotAllowed)
		}
	}
	wantContent(t, db, obj)
}

func pushInvalid(t T, _ *subject, db storage.Database) {
	for _, path := range []string{"a", "a/b"} {
		_, err := db.Push(path, dataOf(1))
		wantErr(t, "Push "+path, err, storage.ErrGlobRequired)
	}
	for _, path := range []string{"*/a", "a/*/b", "a/b*", "a/*b", "*/*", "a/*/*", "a*/*", "*a", "a/b*c"} {
		_, err := db.Push(path, dataOf(1))
		wantErr(t, "Push "+path, err, storage.ErrInvalidPath)
	}
	wantContent(t, db)
}

// badData are texts that are not one JSON value.
var badData = []struct{ name, text string }{
	{"a word", `hello`},
	{"an open object", `{"x":`},
	{"an open string", `"abc`},
	{"a trailing comma", `{"x":true,}`},
	{"two values", `true false`},
	{"a value and rubbish", `{} x`},
	{"spaces only", "  \n"},
	{"single quotes", `{'x':true}`},
	{"a control character in a string", "\"x\ny\""},
	{"a byte order mark", "\xef\xbb\xbf{}"},
	{"not a number", `NaN`},
}

func writeInvalidData(t T, _ *subject, db storage.Database) {
	obj := set(t, db, "a/b", 1)
	push := writeCall{"Push", func(db storage.Database, _ string, data json.RawMessage) error {
		_, err := db.Push("p/*", data)
		return err
	}}
	for _, w := range append([]writeCall{push}, setCalls...) {
		wantErr(t, w.name+" of nil", w.call(db, "a/b", nil), storage.ErrInvalidStorageData)
		wantErr(t, w.name+" of empty data", w.call(db, "a/b", json.RawMessage{}), storage.ErrInvalidStorageData)
		for _, c := range badData {
			err := w.call(db, "a/b", json.RawMessage(c.text))
			wantErr(t, w.name+" of "+c.name, err, storage.ErrInvalidStorageData)
			if err != nil && !strings.ContainsAny(err.Error(), "0123456789") {
				t.Errorf("%s of %s: error %q does not say where the data breaks", w.name, c.name, err)
			}
		}
	}
	wantContent(t, db, obj)
}

func writeNotUTF8(t T, _ *subject, db storage.Database) {
	obj := set(t, db, "a/b", 1)
	calls := slices.Clone(setCalls)
	calls = append(calls, writeCall{"Push", func(db storage.Database, _ string, data json.RawMessage) error {
		_, err := db.Push("p/*", data)
		return err
	}})
	if more, ok := db.(conditional); ok {
		calls = append(calls, writeCall{"SetWith", func(_ storage.Database, path string, data json.RawMessage) error {
			_, err := more.SetWith(path, data, storage.SetOptions{})
			return err
		}}, writeCall{"PushWith", func(_ storage.Database, _ string, data json.RawMessage) error {
			_, err := more.PushWith("p/*", data, storage.SetOptions{})
			return err
		}})
	}
	if more, ok := db.(committer); ok {
		calls = append(calls, writeCall{"Commit", func(_ storage.Database, path string, data json.RawMessage) error {
			var batch storage.Batch
			batch.Set("a/other", dataOf(1))
			batch.Set(path, data)
			_, err := more.Commit(&batch)
			return err
		}})
	}
	if more, ok := db.(updater); ok {
		calls = append(calls, writeCall{"Update", func(_ storage.Database, path string, data json.RawMessage) error {
			_, err := more.Update(path, func(meta.Object) (json.RawMessage, error) { return data, nil })
			return err
		}})
	}
	for _, w := range calls {
		for text, at := range map[string]string{
			"\"\xff\"": "1", "{\"a\":\"\xc3\"}": "6", "[\"\xed\xa0\x80\"]": "2", "{\"\xc0\xaf\":1}": "2",
		} {
			err := w.call(db, "a/b", json.RawMessage(text))
			wantErr(t, w.name+" of "+strconv.Quote(text), err, storage.ErrInvalidStorageData)
			if err != nil && !strings.Contains(err.Error(), "offset "+at) {
				t.Errorf("%s of %q: error %q does not name the offset %s", w.name, text, err, at)
			}
		}
	}
	wantContent(t, db, obj)
	for _, w := range setCalls {
		for _, text := range []string{`"\ud800"`, "\"é€\U0010ffff\"", "\"\ufffd\""} {
			must(t, w.name+" of "+text, w.call(db, "a/b", json.RawMessage(text)))
		}
	}
}

func delAbsent(t T, _ *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	for _, d := range delCalls {
		for _, path := range []string{"a", "a/b/c", "b", "A/b"} {
			wantErr(t, d.name+" "+path, d.call(db, path), storage.ErrNotFound)
		}
	}
	must(t, "Del", db.Del("a/b"))
	wantErr(t, "second Del", db.Del("a/b"), storage.ErrNotFound)
}

// wantNow checks that a time is the present one, within the precision of the clocks.
func wantNow(t T, what string, nanos int64) {
	t.Helper()
	if off := time.Since(time.Unix(0, nanos)).Abs(); off > time.Minute {
		t.Errorf("%s is %d, which is %v off the time of the write in Unix nanoseconds", what, nanos, off)
	}
}

func stampNew(t T, _ *subject, db storage.Database) {
	for _, obj := range oddObjects() {
		index, err := db.Set(obj.Path, obj.Data)
		must(t, "Set "+obj.Path, err)
		if index != obj.Index {
			t.Errorf("Set %s returns index %q, want %q", obj.Path, index, obj.Index)
		}
		got := get(t, db, obj.Path)
		wantNow(t, "Created", got.Created)
		want := obj
		want.Created, want.Updated, want.Revision = got.Created, 0, got.Revision
		if d := diff(got, want); d != "" {
			t.Errorf("Get %s: %s", obj.Path, d)
		}
	}
	index, err := db.Set("root", dataOf(1))
	must(t, "Set", err)
	if index != "root" {
		t.Errorf("Set root returns index %q, want root", index)
	}
}

func stampCreatedKept(t T, _ *subject, db storage.Database) {
	setAt(t, db, object("a/b", 1000))
	first := set(t, db, "a/c", 1)
	for i := range int64(3) {
		if got := set(t, db, "a/b", i); got.Created != 1000 {
			t.Errorf("Created after Set of an object created at 1000 is %d", got.Created)
		}
		if got := set(t, db, "a/c", i); got.Created != first.Created {
			t.Errorf("Created after another Set is %d, want %d", got.Created, first.Created)
		}
	}
}

func stampUpdated(t T, _ *subject, db storage.Database) {
	set(t, db, "a/b", 1)
	for i := range int64(3) {
		got := set(t, db, "a/b", i+2)
		wantNow(t, "Updated", got.Updated)
		if numberOf(got.Data) != i+2 {
			t.Errorf("data after Set of %d is %s", i+2, got.Data)
		}
	}
	setAt(t, db, meta.Object{Path: "a/c", Created: 1, Updated: 2, Data: dataOf(1)})
	wantNow(t, "Updated after SetWithMeta and Set", set(t, db, "a/c", 1).Updated)
}

func stampAfterDel(t T, _ *subject, db storage.Database) {
	remove := []struct {
		name string
		call func() error
	}{
		{"Del", func() error { return db.Del("a/b") }},
		{"DelSilent", func() error { return db.DelSilent("a/b") }},
		{"Del of a glob", func() error { return db.Del("a/*") }},
		{"Clear", func() error { db.Clear(); return nil }},
	}
	for _, r := range remove {
		setAt(t, db, object("a/b", 1000))
		must(t, r.name, r.call())
		got := set(t, db, "a/b", 2)
		wantNow(t, "Created after "+r.name, got.Created)
		if got.Updated != 0 {
			t.Errorf("Updated of an object set after %s is %d, want 0", r.name, got.Updated)
		}
	}
}

func setWithMeta(t T, _ *subject, db storage.Database) {
	for _, times := range [][2]int64{{1, 2}, {0, 0}, {-5, 3}, {math.MaxInt64, math.MinInt64}, {7, 0}} {
		for _, path := range []string{"m/same", fmt.Sprintf("m/%d", times[0])} {
			index, err := db.SetWithMeta(path, dataOf(1), times[0], times[1])
			must(t, "SetWithMeta", err)
			got := get(t, db, path)
			if got.Created != times[0] || got.Updated != times[1] {
				t.Errorf("times after SetWithMeta %v are %d and %d", times, got.Created, got.Updated)
			}
			if index != got.Index {
				t.Errorf("SetWithMeta returns index %q, want %q", index, got.Index)
			}
		}
	}
}

func pushStores(t T, _ *subject, db storage.Database) {
	for _, c := range []struct{ pattern, parent string }{{"p/q/*", "p/q/"}, {"p/*", "p/"}, {"*", ""}} {
		index, err := db.Push(c.pattern, dataOf(5))
		must(t, "Push "+c.pattern, err)
		got, err := db.Get(c.parent + index)
		must(t, fmt.Sprintf("Get %q, which Push made", c.parent+index), err)
		wantNow(t, "Created", got.Created)
		want := meta.Object{Created: got.Created, Revision: got.Revision, Path: c.parent + index, Index: index, Data: dataOf(5)}
		if d := diff(got, want); d != "" {
			t.Errorf("Get %q, which Push made: %s", got.Path, d)
		}
	}
}

func pushUnique(t T, s *subject, db storage.Database) {
	const goroutines, each = 8, 40
	// mu guards seen.
	var mu sync.Mutex
	seen := make(map[string]bool)
	s.together(t, goroutines, func(int) {
		for range each {
			s.beats.advance()
			index, err := db.Push("p/*", dataOf(1))
			if err != nil {
				t.Errorf("Push: %v", err)
				return
			}
			mu.Lock()
			if seen[index] {
				t.Errorf("Push returns index %q a second time", index)
			}
			seen[index] = true
			mu.Unlock()
		}
	})
	list, err := db.GetList("p/*")
	must(t, "GetList", err)
	if len(list) != goroutines*each {
		t.Errorf("GetList after %d pushes has %d objects", goroutines*each, len(list))
	}
}

func writeCopies(t T, _ *subject, db storage.Database) {
	buffer := make(json.RawMessage, 0, 100)
	calls := append([]writeCall{
		{"Push", func(db storage.Database, path string, data json.RawMessage) error {
			index, err := db.Push("p/*", data)
			if err == nil {
				clear(data)
				if got := get(t, db, "p/"+index); numberOf(got.Data) != 7 {
					t.Errorf("data of Push after the caller reused its buffer is %s", got.Data)
				}
			}
			return err
		}},
	}, setCalls...)
	for _, w := range calls {
		buffer = append(buffer[:0], dataOf(7)...)
		must(t, w.name, w.call(db, "a/"+w.name, buffer))
		clear(buffer)
		if w.name == "Push" {
			continue
		}
		if got := get(t, db, "a/"+w.name); numberOf(got.Data) != 7 {
			t.Errorf("data of %s after the caller reused its buffer is %q", w.name, got.Data)
		}
	}
}

func stampOrder(t T, _ *subject, db storage.Database) {
	var last int64
	for i := range int64(30) {
		obj := set(t, db, fmt.Sprintf("a/%d", i%10), i)
		at := max(obj.Created, obj.Updated)
		if at <= last {
			t.Errorf("set %d has time %d, want more than %d, that of the set before", i, at, last)
		}
		last = at
	}
}

func revisionOrder(t T, s *subject, db storage.Database) {
	var last uint64
	check := func(what, path string) {
		t.Helper()
		if got := get(t, db, path).Revision; got <= last {
			t.Errorf("revision after %s is %d, want more than %d", what, got, last)
		} else {
			last = got
		}
	}
	for range 2 {
		set(t, db, "a/b", 1)
		check("Set", "a/b")
		setAt(t, db, object("a/c", 1))
		check("SetWithMeta", "a/c")
		index, err := db.Push("p/*", dataOf(1))
		must(t, "Push", err)
		check("Push", "p/"+index)
		must(t, "Del", db.Del("a/b"))
		set(t, db, "a/b", 1)
		check("Del and Set", "a/b")
		db.Clear()
		set(t, db, "a/b", 1)
		check("Clear and Set", "a/b")
	}
	s.together(t, 4, func(g int) {
		var mine uint64
		path := fmt.Sprintf("r/%d", g)
		for range 20 {
			s.beats.advance()
			if _, err := db.Set(path, dataOf(1)); err != nil {
				t.Errorf("Set: %v", err)
			}
			obj, err := db.Get(path)
			if err != nil || obj.Revision <= mine {
				t.Errorf("revision after Set is %d (error %v), want more than %d", obj.Revision, err, mine)
			}
			mine = obj.Revision
		}
	})
	list, err := db.GetList("r/*")
	must(t, "GetList", err)
	seen := make(map[uint64]string)
	for _, obj := range list {
		if other, twice := seen[obj.Revision]; twice {
			t.Errorf("%s and %s have one revision, %d", obj.Path, other, obj.Revision)
		}
		seen[obj.Revision] = obj.Path
	}
}

func revisionRestart(t T, s *subject, db storage.Database) {
	if !s.Persistent {
		t.Logf("not Persistent: nothing is checked")
		return
	}
	set(t, db, "a/b", 1)
	last := set(t, db, "a/c", 2).Revision
	for round, lose := range []func() error{
		func() error { return nil },
		func() error { return db.Del("a/c") },
		func() error { return db.Del("*/*") },
		func() error { db.Clear(); return nil },
	} {
		must(t, "delete", lose())
		db = s.restarted(t, db)
		got := set(t, db, "a/c", 3).Revision
		if got <= last {
			t.Errorf("round %d: revision after a restart is %d, want more than %d, which was in use", round, got, last)
		}
		last = got
	}
}

func writeConcurrent(t T, s *subject, db storage.Database) {
	const goroutines, rounds = 8, 20
	setAt(t, db, meta.Object{Path: "a/b", Created: 77, Data: dataOf(0)})
	s.together(t, goroutines, func(g int) {
		var last uint64
		for i := range rounds {
			s.beats.advance()
			if _, err := db.Set("a/b", dataOf(int64(g*rounds+i+1))); err != nil {
				t.Errorf("Set: %v", err)
				return
			}
			obj, err := db.Get("a/b")
			if err != nil || obj.Created != 77 || numberOf(obj.Data) < 1 || obj.Revision < last {
				t.Errorf("Get: %+v (error %v), want Created 77, whole data, and no older revision than %d", obj, err, last)
				return
			}
			last = obj.Revision
		}
	})
}

func refusedNoTrace(t T, _ *subject, db storage.Database) {
	_, err := db.Set("a/b", json.RawMessage(`{`))
	wantErr(t, "Set of broken data", err, storage.ErrInvalidStorageData)
	obj := set(t, db, "a/b", 1)
	if obj.Updated != 0 {
		t.Errorf("Updated of the first Set that was taken is %d, want 0", obj.Updated)
	}
	_, err = db.SetWithMeta("a/b", nil, 1, 2)
	wantErr(t, "SetWithMeta of no data", err, storage.ErrInvalidStorageData)
	wantContent(t, db, obj)
}
