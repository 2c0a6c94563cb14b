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

// open makes a Reader of it, of at most two objects at a time.
func (l list) open(string) (*listReader, error) { return &listReader{left: l}, nil }

type listReader struct {
	left  list
	ended int
}

func (r *listReader) Read(chunk []meta.Object, limit int) ([]meta.Object, bool, error) {
	for range min(2, len(r.left), limit-len(chunk)) {
		if r.left[0].Path == "" {
			return chunk, false, errList
		}
		chunk, r.left = append(chunk, r.left[0]), r.left[1:]
	}
	return chunk, len(r.left) > 0, nil
}

func (r *listReader) End() { r.ended++ }

func TestGetList(t *testing.T) {
	got, err := GetList("a/*", list{{Path: "a/c", Created: 2}, {Path: "a/b", Created: 2}, {Path: "a/d", Created: 1}}.open)
	if err != nil || len(got) != 3 || got[0].Path+got[1].Path+got[2].Path != "a/da/ba/c" {
		t.Errorf("the list is %v, %v, expected d, b, c", got, err)
	}
	if got, err := GetList("*", list{}.open); err != nil || got == nil || len(got) != 0 {
		t.Errorf("an empty list is %#v, %v", got, err)
	}
	var reader *listReader
	failing := func(pattern string) (*listReader, error) {
		reader, _ = list{{Path: "a"}, {Path: "b"}, {Path: "c"}, {}}.open(pattern)
		return reader, nil
	}
	if got, err := GetList("*", failing); !errors.Is(err, errList) || got != nil || reader.ended != 1 {
		t.Errorf("a list with an error is %v, %v, and its scan ends %d times", got, err, reader.ended)
	}
	if _, err := GetList("*", func(string) (*listReader, error) { return nil, errList }); !errors.Is(err, errList) {
		t.Errorf("a list that cannot begin: %v", err)
	}
	for pattern, want := range map[string]error{"a": storage.ErrInvalidPattern, "a//*": storage.ErrInvalidPath, "": storage.ErrInvalidPath} {
		if _, err := GetList(pattern, list{}.open); !errors.Is(err, want) {
			t.Errorf("a list of %q: %v, expected %v", pattern, err, want)
		}
	}
}

// It reads in the chunks of a scan.
func TestGetListReadsInChunks(t *testing.T) {
	n := &numbers{count: 1200, size: 1}
	got, err := GetList("*", func(string) (*numbers, error) { return n, nil })
	if err != nil || len(got) != 1200 || n.ended != 1 {
		t.Fatalf("the list has %d objects, %v, and its scan ends %d times", len(got), err, n.ended)
	}
	before := 0
	for i, want := range []int{16, 32, 64, 128, 256, 512, 512} {
		if chunk := n.limits[i] - before; chunk != want {
			t.Errorf("chunk %d has %d objects, expected %d", i, chunk, want)
		}
		before = n.limits[i]
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
