package pebble

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

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
