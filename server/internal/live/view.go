package live

import (
	"reflect"

	"github.com/oolith-db/oolith/meta"
)

// view returns what an identity may see of an object; nil for nothing.
func (l *Live) view(viewer any, obj *meta.Object) (seen *meta.Object) {
	if l.opt.View == nil {
		return obj
	}
	if v, ok := viewer.(*lone); ok {
		viewer = v.identity
	}
	given := *obj
	err := guard("View", func() {
		if result, ok := l.opt.View(viewer, &given); ok && result != nil {
			seen = result
		}
	})
	if err != nil {
		l.opt.Logger.Error("an object cannot be shown", "path", obj.Path, "error", err)
		return nil
	}
	if seen == nil {
		return nil
	}
	copied := *seen
	copied.Path, copied.Index, copied.Created, copied.Revision = obj.Path, obj.Index, obj.Created, obj.Revision
	return &copied
}

// lone is the viewer for one connection with an identity that is not comparable.
type lone struct{ identity any }

// viewerOf returns the viewer for an identity's topics.
func (l *Live) viewerOf(identity any) any {
	switch {
	case l.opt.View == nil || identity == nil:
		return nil
	case reflect.ValueOf(identity).Comparable():
		return identity
	}
	return &lone{identity}
}
