package storage

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/oolith-db/oolith/meta"
)

// An object whose time comes while the store is being loaded is removed once the store is open:
// there is no pipeline to remove it before.
func TestExpiryDuringStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := newFakeBatcher()
		layer.objects["soon"] = meta.Object{
			Created: 1, Path: "soon", Index: "soon", Data: []byte("1"),
			Expires: time.Now().Add(time.Second).UnixNano(),
		}
		layer.before = func(method, _ string) error {
			if method != "Close" {
				time.Sleep(2 * time.Second) // its time comes during each call
			}
			return nil
		}
		s := withLayer(t, layer)
		set(t, s, "other", "1")      // the pipeline takes writes
		time.Sleep(10 * time.Second) // the removal takes time too
		synctest.Wait()
		expect(t, s, "soon", "")
		if _, there := layer.objects["soon"]; there {
			t.Error("the expired object is still in the layer")
		}
	})
}
