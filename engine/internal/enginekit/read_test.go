package enginekit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// list is what a scan yields, whatever its pattern; an object without a path is an error.
type list []meta.Object

var errList = errors.New("an object without a path")

func (l list) SizeHint() int { return len(l) }

func (l list) Scan(string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		for _, obj := range l {
			if obj.Path == "" {
				yield(meta.Object{}, errList)
				return
			}
			if !yield(obj, nil) {
				return
			}
		}
	}
}

func TestGetList(t *testing.T) {
	got, err := GetList(list{{Path: "a/c", Created: 2}, {Path: "a/b", Created: 2}, {Path: "a/d", Created: 1}}, "a/*")
	if err != nil || len(got) != 3 || got[0].Path+got[1].Path+got[2].Path != "a/da/ba/c" {
		t.Errorf("the list is %v, %v, expected d, b, c", got, err)
	}
	if got, err := GetList(list{}, "*"); err != nil || got == nil || len(got) != 0 {
		t.Errorf("an empty list is %#v, %v", got, err)
	}
	if got, err := GetList(list{{Path: "a"}, {}}, "*"); !errors.Is(err, errList) || got != nil {
		t.Errorf("a list with an error is %v, %v", got, err)
	}
	for pattern, want := range map[string]error{"a": storage.ErrInvalidPattern, "a//*": storage.ErrInvalidPath, "": storage.ErrInvalidPath} {
		if _, err := GetList(list{}, pattern); !errors.Is(err, want) {
			t.Errorf("a list of %q: %v, expected %v", pattern, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	got, err := Load(list{{Path: "a", Created: 1}, {Path: "b", Created: 2}})
	if err != nil || len(got) != 2 || got["a"].Created != 1 || got["b"].Created != 2 {
		t.Errorf("loaded %v, %v", got, err)
	}
	if got, err := Load(list{}); err != nil || got == nil || len(got) != 0 {
		t.Errorf("loaded of nothing is %#v, %v", got, err)
	}
	if got, err := Load(list{{Path: "a"}, {}}); !errors.Is(err, errList) || got != nil {
		t.Errorf("loaded with an error is %v, %v", got, err)
	}
}

func TestCheck(t *testing.T) {
	failure := errors.New("a failure")
	for _, c := range []struct {
		name     string
		cancelAt int // the step in which the context is cancelled
		failAt   int
		want     error
		objects  int
		reports  int
	}{
		{"to its end", -1, -1, nil, 30, 3},
		{"a step that fails", -1, 1, failure, 20, 2},
		{"a context that is done", 1, -1, context.Canceled, 20, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			step, reports := 0, 0
			objects, err := Check(ctx, func(error) { reports++ }, func() (int, []error, bool, error) {
				n := step
				step++
				if n == c.cancelAt {
					cancel()
				}
				var err error
				if n == c.failAt {
					err = failure
				}
				return 10, []error{fmt.Errorf("finding %d", n)}, n < 2, err
			})
			cancel()
			if objects != c.objects || reports != c.reports || !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("the check counts %d and reports %d, %v, expected %d, %d, %v", objects, reports, err, c.objects, c.reports, c.want)
			}
		})
	}
}
