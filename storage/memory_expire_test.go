package storage

import (
	"slices"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

// A layer hides nothing: a store over it removes what is expired, and must find it there.
func TestMemoryLayerHoldsWhatIsExpired(t *testing.T) {
	layer := NewMemoryLayer()
	must(t, layer.Start(LayerOptions{}))
	defer layer.Close()
	must(t, layer.Set("e/x", &meta.Object{Created: 1, Expires: 1, Data: []byte("1")}))
	if _, err := layer.Get("e/x"); err != nil {
		t.Errorf("Get: %v", err)
	}
	if list, err := layer.GetList("e/*"); err != nil || len(list) != 1 {
		t.Errorf("GetList: %v, %v, want the object", list, err)
	}
	if keys, err := layer.Keys(); err != nil || !slices.Equal(keys, []string{"e/x"}) {
		t.Errorf("Keys: %v, %v, want the path", keys, err)
	}
	if err := layer.Del("e/x"); err != nil {
		t.Errorf("Del: %v", err)
	}
}
