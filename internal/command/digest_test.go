package command

import (
	"fmt"
	"testing"

	"github.com/oolith-db/oolith/internal/testrand"
	"github.com/oolith-db/oolith/meta"
)

func TestDigestHasNoOrder(t *testing.T) {
	random := testrand.New(t)
	objects := make([]meta.Object, 500)
	for i := range objects {
		objects[i] = meta.Object{Path: fmt.Sprint("d/", i), Created: random.Int64(), Revision: random.Uint64(), Data: []byte(fmt.Sprint(random.Int64()))}
	}
	var want digest
	for i := range objects {
		want.add(&objects[i])
	}
	random.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
	var got digest
	for i := range objects {
		got.add(&objects[i])
	}
	if got != want || got.count != 500 {
		t.Errorf("in another order the digest is %v of %d, want %v of 500", got, got.count, want)
	}
}

func TestDigestSeesEachField(t *testing.T) {
	base := meta.Object{Path: "a/b", Index: "b", Created: 1, Updated: 2, Expires: 3, Revision: 4, Data: []byte("12")}
	digestOfOne := func(change func(obj *meta.Object)) digest {
		obj := base
		change(&obj)
		var d digest
		d.add(&obj)
		return d
	}
	want := digestOfOne(func(*meta.Object) {})
	for name, change := range map[string]func(obj *meta.Object){
		"path":                 func(obj *meta.Object) { obj.Path = "a/c" },
		"created":              func(obj *meta.Object) { obj.Created++ },
		"updated":              func(obj *meta.Object) { obj.Updated++ },
		"expires":              func(obj *meta.Object) { obj.Expires = 0 },
		"revision":             func(obj *meta.Object) { obj.Revision++ },
		"data":                 func(obj *meta.Object) { obj.Data = []byte("13") },
		"data cut":             func(obj *meta.Object) { obj.Data = []byte("1") },
		"path and data":        func(obj *meta.Object) { obj.Path, obj.Data = "a/b1", []byte("2") },
		"created and updated":  func(obj *meta.Object) { obj.Created, obj.Updated = 2, 1 },
		"expires and revision": func(obj *meta.Object) { obj.Expires, obj.Revision = 4, 3 },
	} {
		if digestOfOne(change) == want {
			t.Errorf("another %s has the same digest", name)
		}
	}
	var twice digest
	twice.add(&base)
	twice.add(&base)
	if twice == want || twice == (digest{}) {
		t.Errorf("an object that is there twice has the digest %v", twice)
	}
}
