package enginekit

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// GetList implements storage.Layer with a scan that open begins. Most lists are short and requested often, so it reads
// directly into the list, without the loop of Scan.
func GetList[R Reader](pattern string, open func(pattern string) (R, error)) ([]meta.Object, error) {
	if err := CheckPattern(pattern); err != nil {
		return nil, err
	}
	r, err := open(pattern)
	if err != nil {
		return nil, err
	}
	defer r.End()
	objects := []meta.Object{}
	limit := FirstChunk
	for more := true; more; limit = min(2*limit, MaxChunk) {
		if objects, more, err = r.Read(objects, len(objects)+limit); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(objects, func(a, b meta.Object) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.Path, b.Path))
	})
	return objects, nil
}

// Load implements storage.EmbeddedLayer with a scan.
func Load(l interface {
	storage.Scanner
	storage.SizeHinter
}) (map[string]*meta.Object, error) {
	objects := make(map[string]*meta.Object, l.SizeHint())
	for obj, err := range l.Scan("") {
		if err != nil {
			return nil, err
		}
		objects[obj.Path] = &obj
	}
	return objects, nil
}

// Check runs the steps of a storage.Checker until one reports that there are no more, or fails, or the context ends. A
// step returns how many intact objects it found and which problems, even with an error.
func Check(ctx context.Context, report func(error), step func() (whole int, found []error, more bool, err error)) (objects int, err error) {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return objects, err
		}
		var whole int
		var found []error
		whole, found, more, err = step()
		objects += whole
		for _, wrong := range found {
			report(wrong)
		}
		if err != nil {
			return objects, err
		}
	}
	return objects, nil
}
