package enginekit

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func TestChecks(t *testing.T) {
	whole := &meta.Object{Data: []byte("12345")}
	for _, c := range []struct {
		name string
		got  error
		want error
		text string
	}{
		{"a path", CheckPath("a/b"), nil, ""},
		{"a glob as a path", CheckPath("a/*"), storage.ErrGlobNotAllowed, `path "a/*"`},
		{"no path", CheckPath(""), storage.ErrInvalidPath, `path ""`},
		{"a pattern", CheckPattern("a/*"), nil, ""},
		{"a path as a pattern", CheckPattern("a/b"), storage.ErrInvalidPattern, `pattern "a/b"`},
		{"an invalid pattern", CheckPattern("a//*"), storage.ErrInvalidPath, `pattern "a//*"`},
		{"a scan of a pattern", CheckScanned("a/*"), nil, ""},
		{"a scan of a path", CheckScanned("a/b"), nil, ""},
		{"a scan of everything", CheckScanned(""), nil, ""},
		{"a scan of an invalid pattern", CheckScanned("a**"), storage.ErrInvalidPath, `pattern "a**"`},
		{"a stored path", CheckStored("a/b"), nil, ""},
		{"a stored glob", CheckStored("a/*"), storage.ErrGlobNotAllowed, `key "a/*"`},
		{"a stored path that is invalid", CheckStored("a//b"), storage.ErrInvalidPath, `key "a//b"`},
		{"a put", CheckPut("a", whole, 5), nil, ""},
		{"a put that is too large", CheckPut("a", whole, 4), nil, `path "a": the data has 5 bytes, expected at most 4`},
		{"a put of nothing", CheckPut("a", nil, 5), storage.ErrInvalidStorageData, `path "a"`},
		{"a put without data", CheckPut("a", &meta.Object{}, 5), storage.ErrInvalidStorageData, `path "a"`},
		{"a put at a glob", CheckPut("*", nil, 5), storage.ErrGlobNotAllowed, `path "*"`},
	} {
		switch {
		case c.text == "" && c.got != nil:
			t.Errorf("%s: %v", c.name, c.got)
		case c.text != "" && (c.got == nil || !strings.Contains(c.got.Error(), c.text)):
			t.Errorf("%s: %v, expected %s in it", c.name, c.got, c.text)
		case c.want != nil && !errors.Is(c.got, c.want):
			t.Errorf("%s: %v, expected %v", c.name, c.got, c.want)
		}
	}
}

func TestCheckChanges(t *testing.T) {
	good := []storage.Change{
		{Key: "a", Object: &meta.Object{Data: []byte("1")}, Revision: 5}, {Clear: true, Revision: 7}, {Key: "b", Revision: 6},
	}
	if revision, err := CheckChanges(good, 10); revision != 7 || err != nil {
		t.Errorf("of good changes the highest revision is %d, %v, expected 7", revision, err)
	}
	if revision, err := CheckChanges(nil, 10); revision != 0 || err != nil {
		t.Errorf("of no changes the highest revision is %d, %v", revision, err)
	}
	for _, bad := range []storage.Change{{}, {Key: "c", Clear: true}, {Key: "*"}, {Key: "c", Object: &meta.Object{}}, {Key: "c", Object: &meta.Object{Data: make([]byte, 11)}}} {
		revision, err := CheckChanges(append(good[:3:3], bad, bad), 10)
		if refused, ok := errors.AsType[*storage.EntryError](err); !ok || refused.Index != 3 || revision != 0 {
			t.Errorf("with %v: revision %d, %v, expected an EntryError of change 3", bad, revision, err)
		}
	}
}

func TestAlone(t *testing.T) {
	if err := Alone(&storage.EntryError{Index: 0, Err: io.EOF}); err != io.EOF {
		t.Errorf("of a refused entry it is %v, expected its own error", err)
	}
	if err := Alone(io.EOF); err != io.EOF {
		t.Errorf("of another error it is %v, expected that", err)
	}
	if err := Alone(nil); err != nil {
		t.Errorf("of nil it is %v", err)
	}
}

func TestOneLine(t *testing.T) {
	if got := OneLine(" a\n\tb  c\r\n"); got != "a b c" {
		t.Errorf("it is %q", got)
	}
}

func TestKeyLocks(t *testing.T) {
	var locks KeyLocks
	held := locks.Of("a")
	held.Lock()
	if locks.Of("a").TryLock() {
		t.Error("the lock of a path was given twice")
	}
	held.Unlock()
}
