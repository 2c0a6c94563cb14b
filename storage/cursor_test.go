package storage

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"testing"
	"time"
)

// The places that cursors stand for.

// identified is a layer that has an id.
type identified struct {
	*fakeBatcher
	id uint64
}

func (l *identified) ID() (uint64, error) { return l.id, nil }

// A cursor is a place, whether or not its object is there still, and is good after a restart.
func TestCursorsStayValid(t *testing.T) {
	check := func(t *testing.T, s *Layered, restarts bool) {
		t.Helper()
		fillPages(t, s, 30)
		want, err := s.GetList("p/*/*")
		must(t, err)
		page, err := s.Page("p/*/*", ListOptions{Limit: 10})
		must(t, err)
		must(t, s.Del(want[9].Path)) // the place of the cursor
		must(t, s.Del(want[10].Path))
		must(t, second(s.SetWithMeta("p/0/new", json.RawMessage("1"), want[20].Created, 0)))
		if restarts {
			restart(t, s)
		}
		next, err := s.Page("p/*/*", ListOptions{Limit: 5, Cursor: page.Next})
		must(t, err)
		if !sameLists(next.Objects, want[11:16]) {
			t.Errorf("behind a cursor whose object is gone come %v", next.Objects)
		}
		again, err := s.Page("p/*/*", ListOptions{Limit: 5, Cursor: page.Next})
		if err != nil || !sameLists(again.Objects, next.Objects) || again.Next != next.Next {
			t.Errorf("a cursor used twice shows %v, %v", again.Objects, err)
		}
		from := want[14].Created
		rest, err := s.Page("p/*/*", ListOptions{Cursor: page.Next, From: &from})
		must(t, err)
		if len(rest.Objects) == 0 || rest.Objects[0].Created < from {
			t.Errorf("a cursor with a range shows %v", rest.Objects)
		}
		must(t, s.Del("p/*/*"))
		empty, err := s.Page("p/*/*", ListOptions{Cursor: page.Next})
		if err != nil || len(empty.Objects) != 0 || empty.Next != "" {
			t.Errorf("a cursor of an empty list shows %v, %v", empty, err)
		}
	}
	each(t, Options{}, nil, func(t *testing.T, k kind, s *Layered, _ *fakeBatcher) { check(t, s, k.persistent) })
	t.Run("identified", func(t *testing.T) {
		check(t, withLayer(t, &identified{newFakeBatcher(), 7}), true)
	})
}

func TestBadCursors(t *testing.T) {
	layer := &identified{newFakeBatcher(), 7}
	s := withLayer(t, layer)
	fillPages(t, s, 30)
	next := func(s *Layered, pattern string, opt ListOptions) string {
		t.Helper()
		opt.Limit = 3
		page, err := s.Page(pattern, opt)
		must(t, err)
		if page.Next == "" {
			t.Fatalf("%s has no second page", pattern)
		}
		return page.Next
	}
	stranger := func(layer EmbeddedLayer) *Layered {
		other := withLayer(t, layer)
		fillPages(t, other, 30)
		return other
	}
	good := next(s, "p/0/*", ListOptions{})
	raw, err := base64.RawURLEncoding.DecodeString(good)
	must(t, err)
	altered := func(change func(raw []byte) []byte) string {
		return base64.RawURLEncoding.EncodeToString(change(slices.Clone(raw)))
	}
	memory := inMemory(t)
	fillPages(t, memory, 30)
	cursors := map[string]string{
		"text":                     "hello",
		"not of the alphabet":      "a+b/",
		"padded":                   good + "==",
		"cut off":                  good[:8],
		"without a path":           altered(func(raw []byte) []byte { return raw[:cursorHeader] }),
		"cut by a byte":            altered(func(raw []byte) []byte { return raw[:len(raw)-1] }),
		"of another version":       altered(func(raw []byte) []byte { raw[0]++; return raw }),
		"of another time":          altered(func(raw []byte) []byte { raw[12]++; return raw }),
		"of another sum":           altered(func(raw []byte) []byte { raw[2]++; return raw }),
		"of another object":        altered(func(raw []byte) []byte { raw[len(raw)-1]++; return raw }),
		"with a tail":              altered(func(raw []byte) []byte { return append(raw, 'x') }),
		"with spare bits":          good[:len(good)-1] + string(good[len(good)-1]+1),
		"of a pattern":             next(s, "p/1/*", ListOptions{}),
		"of all":                   next(s, "p/*/*", ListOptions{}),
		"of another direction":     next(s, "p/0/*", ListOptions{Descending: true}),
		"of another store":         next(stranger(&identified{newFakeBatcher(), 8}), "p/0/*", ListOptions{}),
		"of a store without an id": next(stranger(newFakeBatcher()), "p/0/*", ListOptions{}),
		"of a store in memory":     next(memory, "p/0/*", ListOptions{}),
		"of a plain sum of a place": altered(func(raw []byte) []byte {
			binary.BigEndian.PutUint32(raw[1:], crc32.Checksum(raw[5:], castagnoli))
			return raw
		}),
	}
	if _, err := s.Page("p/0/*", ListOptions{Cursor: good}); err != nil {
		t.Fatalf("the good cursor: %v", err)
	}
	for name, cursor := range cursors {
		if cursor == good {
			t.Errorf("the cursor %s is the good one", name)
		}
		if page, err := s.Page("p/0/*", ListOptions{Cursor: cursor}); !errors.Is(err, ErrInvalidCursor) || page.Objects != nil {
			t.Errorf("a cursor %s: %d objects, %v, want ErrInvalidCursor", name, len(page.Objects), err)
		}
		n := 0
		for _, err := range s.Iterate("p/0/*", ListOptions{Cursor: cursor}) {
			if n++; !errors.Is(err, ErrInvalidCursor) || n > 1 {
				t.Errorf("an iteration from a cursor %s: %v", name, err)
			}
		}
	}
	// A store in memory is another one after a restart.
	old := next(memory, "p/0/*", ListOptions{})
	restart(t, memory)
	if _, err := memory.Page("p/0/*", ListOptions{Cursor: old}); !errors.Is(err, ErrInvalidCursor) {
		t.Errorf("a cursor of a store that is gone: %v", err)
	}
}

// A cursor holds any place, also at the ends of time.
func TestCursorsOfOddPlaces(t *testing.T) {
	s := inMemory(t)
	times := []int64{math.MinInt64, -1, 0, 1, math.MaxInt64}
	for i, created := range times {
		for _, name := range []string{"A", "z", "_", "..."} {
			must(t, second(s.SetWithMeta("d/"+name+fmt.Sprint(i), json.RawMessage("1"), created, 0)))
		}
	}
	for _, descending := range []bool{false, true} {
		all, n := pages(t, s, "d/*", ListOptions{Limit: 1, Descending: descending})
		if len(all) != 20 || n != 20 {
			t.Errorf("descending %v: %d objects in %d pages, want 20", descending, len(all), n)
		}
	}
}

// A page that is read at once with the removal of what expires never shows a hole: with a limit it is full.
func TestPagesPassOverWhatIsExpired(t *testing.T) {
	inBubble(t, Options{}, nil, func(t *testing.T, _ kind, s *Layered, _ *fakeBatcher) {
		for i := range 30 {
			opt := SetOptions{Times: &Times{Created: int64(i)}}
			if i%3 != 0 {
				opt.TTL = time.Minute
			}
			_, err := s.SetWith(fmt.Sprintf("d/%d", i), json.RawMessage("1"), opt)
			must(t, err)
		}
		first, err := s.Page("d/*", ListOptions{Limit: 2})
		must(t, err)
		e := &s.run.Load().expirer
		e.mu.Lock()
		e.removing = true // as if a removal took its time
		e.mu.Unlock()
		time.Sleep(time.Minute)
		var got []int64
		opt := ListOptions{Limit: 2, Cursor: first.Next}
		for {
			page, err := s.Page("d/*", opt)
			must(t, err)
			for _, obj := range page.Objects {
				got = append(got, obj.Created)
			}
			if opt.Cursor = page.Next; page.Next == "" {
				break
			}
			if len(page.Objects) != 2 {
				t.Errorf("a page of %d in the middle", len(page.Objects))
			}
		}
		if want := []int64{3, 6, 9, 12, 15, 18, 21, 24, 27}; !slices.Equal(got, want) {
			t.Errorf("the pages show %v, want %v", got, want)
		}
	})
}
