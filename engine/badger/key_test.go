package badger

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

func TestParseKey(t *testing.T) {
	raw := func(n int) string { return string(bytes.Repeat([]byte{0xfe}, n-1)) + "\n" } // ends like a line
	for _, n := range []int{16, 24, 32} {
		digits := hex.EncodeToString([]byte(raw(n)))
		for name, content := range map[string]string{
			"raw": raw(n), "raw and a newline": raw(n) + "\n", "digits": digits,
			"upper-case digits": strings.ToUpper(digits), "digits and a newline": digits + "\n", "digits and a Windows newline": digits + "\r\n",
		} {
			key, err := ParseKey([]byte(content))
			if err != nil || string(key) != raw(n) {
				t.Errorf("%d bytes, %s: the key is %q, %v", n, name, key, err)
			}
		}
	}
	for _, content := range []string{
		"", "\n", "secret", strings.Repeat("s", 15), strings.Repeat("s", 17), strings.Repeat("s", 33), strings.Repeat("s", 48),
		strings.Repeat("0", 31), strings.Repeat("s", 64), strings.Repeat("0", 65), strings.Repeat("s", 16) + " ",
	} {
		key, err := ParseKey([]byte(content))
		if err == nil {
			t.Errorf("%q is the key %q, expected an error", content, key)
		} else if len(content) > 2 && strings.Contains(err.Error(), content) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

// withKey returns options with a key.
func withKey(key string) Options {
	o := small()
	o.Key = []byte(key)
	return o
}

var (
	keyA = strings.Repeat("x", 32)
	keyB = strings.Repeat("y", 16)
)

func TestWaysToGiveAKey(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, withKey(keyA))
	enginetest.SetAll(t, l, "a")
	l.Close()
	file := filepath.Join(t.TempDir(), "key")
	enginetest.WriteFile(t, file, hex.EncodeToString([]byte(keyA))+"\n")
	t.Setenv("OOLITH_TEST_KEY", keyA)
	t.Setenv("OOLITH_TEST_BAD_KEY", "short secret")
	bad := filepath.Join(t.TempDir(), "bad")
	enginetest.WriteFile(t, bad, "short secret")
	for name, o := range map[string]Options{
		"file":     {KeyFile: file},
		"variable": {KeyEnv: "OOLITH_TEST_KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			o.MemTableSize = small().MemTableSize
			l := start(t, dir, o)
			if got := enginetest.Keys(t, l); len(got) != 1 {
				t.Errorf("the keys are %q", got)
			}
			l.Close()
		})
	}
	for _, c := range []struct {
		name    string
		options Options
		texts   []string
	}{
		{"two keys", Options{KeyFile: file, Key: []byte(keyA)}, []string{"more than one key"}},
		{"a missing file", Options{KeyFile: file + "x"}, []string{"read the key for encryption", file + "x", "no such file"}},
		{"a bad file", Options{KeyFile: bad}, []string{bad, "12 bytes", "expected 16, 24 or 32"}},
		{"a missing variable", Options{KeyEnv: "OOLITH_TEST_NO_KEY"}, []string{"OOLITH_TEST_NO_KEY", "is not set"}},
		{"a bad variable", Options{KeyEnv: "OOLITH_TEST_BAD_KEY"}, []string{"OOLITH_TEST_BAD_KEY", "12 bytes"}},
		{"a bad key", Options{Key: []byte("short secret")}, []string{"12 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustRefuse(t, New(dir, c.options), c.texts...)
			if err := New(dir, c.options).Start(layerOptions); strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestKeyThatDoesNotFit(t *testing.T) {
	sealed, plain := t.TempDir(), t.TempDir()
	for dir, o := range map[string]Options{sealed: withKey(keyA), plain: small()} {
		l := start(t, dir, o)
		enginetest.SetAll(t, l, "a", "b")
		l.Close()
	}
	mustRefuse(t, New(sealed, withKey(keyB)), "not the one of this store")
	mustRefuse(t, New(sealed, small()), "the store is encrypted; a key is needed")
	mustRefuse(t, New(plain, withKey(keyA)), "the store is not encrypted", "leave it out")
	for dir, o := range map[string]Options{sealed: withKey(keyA), plain: small()} {
		l := start(t, dir, o)
		if got := enginetest.Keys(t, l); len(got) != 2 {
			t.Errorf("after the refusals the keys are %q", got)
		}
	}
}

// Nothing that was written can be read from the files of an encrypted store, also not after a crash.
func TestEncryption(t *testing.T) {
	for name, o := range map[string]Options{"encrypted": withKey(keyA), "plain": small()} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := start(t, dir, o)
			for i := range 300 {
				path := fmt.Sprintf("secretpath/%d", i)
				data := `"` + strings.Repeat("secretdata ", 1+i%200) + `"`
				if err := l.Commit(puts([]string{path}, 1, 1)); err != nil {
					t.Fatal(err)
				}
				if err := l.Set(path+"x", enginetest.Object(path, 1, data)); err != nil {
					t.Fatal(err)
				}
			}
			crashed := copyOf(t, dir)
			l.Close()
			found := 0
			for _, dir := range []string{dir, crashed} {
				for _, name := range match(t, dir, "*") {
					content, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					if bytes.Contains(content, []byte("secretpath")) || bytes.Contains(content, []byte("secretdata")) {
						found++
						if o.Key != nil {
							t.Errorf("%s can be read", name)
						}
					}
				}
				l := start(t, dir, o)
				if got := enginetest.Keys(t, l); len(got) != 600 {
					t.Errorf("%d objects, expected 600", len(got))
				}
				l.Close()
			}
			if o.Key == nil && found == 0 {
				t.Error("nothing can be read of a plain store: the test looks for the wrong thing")
			}
		})
	}
}

func TestRotateKey(t *testing.T) {
	dir := filledWith(t, withKey(keyA))
	before := start(t, dir, withKey(keyA))
	want, err := before.Load()
	if err != nil {
		t.Fatal(err)
	}
	enginetest.SetAll(t, before, "after/1")
	before.Close()
	for _, c := range []struct {
		name     string
		dir      string
		old, new string
		text     string
	}{
		{"the wrong old key", dir, keyB, keyB, "not the one of this store"},
		{"no old key", dir, "", keyB, "empty"},
		{"no new key", dir, keyA, "", "empty"},
		{"a short new key", dir, keyA, "short", "5 bytes"},
		{"no store", t.TempDir(), keyA, keyB, "no store of this kind"},
		{"no directory", dir + "/none", keyA, keyB, "no such file"},
		{"a plain store", filled(t), keyA, keyB, "is not encrypted"},
	} {
		if err := RotateKey(c.dir, []byte(c.old), []byte(c.new)); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.text)
		}
	}
	if err := RotateKey(dir, []byte(keyA), []byte(keyB)); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, New(dir, withKey(keyA)), "not the one of this store")
	l := start(t, dir, withKey(keyB))
	if err := l.Del("after/1"); err != nil {
		t.Fatal(err)
	}
	sameContent(t, "with the new key", l, want, 400)
	enginetest.SetAll(t, l, "after/2")
	l.Close()
	if err := RotateKey(dir, []byte(keyB), []byte(keyA)); err != nil {
		t.Fatal(err)
	}
	l = start(t, dir, withKey(keyA))
	if _, err := l.Get("after/2"); err != nil {
		t.Errorf("with the old key again: %v", err)
	}
}
