package pebble

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

func TestFlippedByteNamesTheKey(t *testing.T) {
	l := startInMemory(t)
	enginetest.Set(t, l, "d/1", "d/2", "d/3")
	raw := objectKeys.Append(nil, "d/2")
	value, closer, err := opened(l).db.Get(raw)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(value)
	flipped[len(flipped)-2] ^= 0x20
	if err := errors.Join(closer.Close(), opened(l).db.Set(raw, flipped, pebble.Sync)); err != nil {
		t.Fatal(err)
	}
	_, get := l.Get("d/2")
	_, list := l.GetList("d/*")
	_, load := l.Load()
	for name, err := range map[string]error{"Get": get, "GetList": list, "Load": load} {
		if err == nil || !strings.Contains(err.Error(), `key "d/2"`) || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: %v, expected the key and the checksum", name, err)
		}
	}
	if got, err := l.Get("d/3"); err != nil || string(got.Data) != `"d/3"` {
		t.Errorf("its neighbour: %s, %v", got.Data, err)
	}
}

func TestForeignKeyIsAnError(t *testing.T) {
	l := startInMemory(t)
	if err := opened(l).db.Set([]byte("odd"), []byte("value"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	_, load := l.Load()
	_, list := l.GetList("*/*")
	_, all := l.Keys()
	for name, err := range map[string]error{"Load": load, "GetList": list, "Keys": all} {
		if err == nil || !strings.Contains(err.Error(), `"odd"`) {
			t.Errorf("%s: %v, expected the key", name, err)
		}
	}
}
