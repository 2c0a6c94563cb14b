package storagetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// brokenUpkeep is a brokenLayer of which the methods of upkeep can be wrong too.
type brokenUpkeep struct {
	*brokenLayer
	check   func(ctx context.Context, report func(error)) (int, error)
	compact func(ctx context.Context) error
	mark    func(reason string) error
	id      func() (uint64, error)
}

func (l *brokenUpkeep) ID() (uint64, error) {
	if l.id != nil {
		return l.id()
	}
	return l.BatchLayer.ID()
}

func (l *brokenUpkeep) Check(ctx context.Context, report func(error)) (int, error) {
	if l.check != nil {
		return l.check(ctx, report)
	}
	return l.BatchLayer.Check(ctx, report)
}

func (l *brokenUpkeep) Compact(ctx context.Context) error {
	if l.compact != nil {
		return l.compact(ctx)
	}
	return l.BatchLayer.Compact(ctx)
}

func (l *brokenUpkeep) MarkIncomplete(reason string) error {
	if l.mark != nil {
		return l.mark(reason)
	}
	return l.BatchLayer.MarkIncomplete(reason)
}

var errOnPurpose = errors.New("broken on purpose")

var brokenUpkeeps = []struct {
	name string
	want []string
	harm func(l *brokenUpkeep)
}{
	{"nothing is wrong", nil, func(*brokenUpkeep) {}},
	{"has the ID of every other store", []string{"EMBEDDED-70"}, func(l *brokenUpkeep) {
		l.id = func() (uint64, error) { return 7, nil }
	}},
	{"draws its ID anew", []string{"EMBEDDED-70"}, func(l *brokenUpkeep) {
		l.id = func() (uint64, error) { return rand.Uint64() | 1, nil }
	}},
	{"counts one object too many", []string{"EMBEDDED-60"}, func(l *brokenUpkeep) {
		l.check = func(ctx context.Context, report func(error)) (int, error) {
			damaged := false
			n, err := l.BatchLayer.Check(ctx, func(err error) { damaged = true; report(err) })
			if n > 0 && !damaged {
				n++
			}
			return n, err
		}
	}},
	{"suspects what is sound", []string{"EMBEDDED-60"}, func(l *brokenUpkeep) {
		l.check = func(ctx context.Context, report func(error)) (int, error) {
			n, err := l.BatchLayer.Check(ctx, report)
			if n > 0 {
				report(errOnPurpose)
			}
			return n, err
		}
	}},
	{"ends a check at the first damage", []string{"EMBEDDED-61"}, func(l *brokenUpkeep) {
		l.check = func(ctx context.Context, report func(error)) (int, error) {
			first := true
			return l.BatchLayer.Check(ctx, func(err error) {
				if first {
					report(err)
				}
				first = false
			})
		}
	}},
	{"counts what is damaged", []string{"EMBEDDED-61"}, func(l *brokenUpkeep) {
		l.check = func(ctx context.Context, report func(error)) (int, error) {
			damaged := 0
			n, err := l.BatchLayer.Check(ctx, func(err error) { damaged++; report(err) })
			return n + damaged, err
		}
	}},
	{"does not say what is damaged", []string{"EMBEDDED-61"}, func(l *brokenUpkeep) {
		l.check = func(ctx context.Context, report func(error)) (int, error) {
			return l.BatchLayer.Check(ctx, func(error) { report(errOnPurpose) })
		}
	}},
	{"loses an object when it compacts", []string{"EMBEDDED-62", "EMBEDDED-63"}, func(l *brokenUpkeep) {
		l.compact = func(ctx context.Context) error {
			l.records(func(dir *directory) { delete(dir.records, "odd/0/x") })
			return l.BatchLayer.Compact(ctx)
		}
	}},
	{"refuses the writes that a compaction meets", []string{"EMBEDDED-63"}, func(l *brokenUpkeep) {
		// Where nobody writes meanwhile, no write comes after the compaction of a layer
		// that holds something.
		var met atomic.Bool
		l.compact = func(ctx context.Context) error {
			met.Store(len(l.everything()) > 0)
			return l.BatchLayer.Compact(ctx)
		}
		l.set = func(path string, obj *meta.Object) error {
			if met.Load() {
				return errOnPurpose
			}
			return l.BatchLayer.Set(path, obj)
		}
	}},
	{"does not say why it is incomplete", []string{"EMBEDDED-64"}, func(l *brokenUpkeep) {
		l.start = func(opt storage.LayerOptions) error {
			err := l.BatchLayer.Start(opt)
			if errors.Is(err, storage.ErrIncomplete) {
				return storage.ErrIncomplete
			}
			return err
		}
	}},
	{"keeps the first reason", []string{"EMBEDDED-64"}, func(l *brokenUpkeep) {
		first := ""
		l.mark = func(reason string) error {
			if first == "" || reason == "" {
				first = reason
			}
			return l.BatchLayer.MarkIncomplete(first)
		}
	}},
	{"stays active when it is refused", []string{"EMBEDDED-64", "EMBEDDED-65", "EMBEDDED-67"}, func(l *brokenUpkeep) {
		l.start = func(opt storage.LayerOptions) error {
			err := l.BatchLayer.Start(opt)
			if errors.Is(err, storage.ErrIncomplete) {
				return errors.Join(err, l.BatchLayer.Start(storage.LayerOptions{AllowIncomplete: true}))
			}
			return err
		}
	}},
	{"takes the mark away when it is allowed", []string{"EMBEDDED-65"}, func(l *brokenUpkeep) {
		l.start = func(opt storage.LayerOptions) error {
			err := l.BatchLayer.Start(opt)
			if err == nil && opt.AllowIncomplete {
				return l.BatchLayer.MarkIncomplete("")
			}
			return err
		}
	}},
	{"demands a mark to take away", []string{"EMBEDDED-66"}, func(l *brokenUpkeep) {
		marked := false
		l.mark = func(reason string) error {
			if reason == "" && !marked && l.Active() {
				return errOnPurpose
			}
			marked = reason != ""
			return l.BatchLayer.MarkIncomplete(reason)
		}
	}},
	{"clears its mark too", []string{"EMBEDDED-67"}, func(l *brokenUpkeep) {
		l.clear = func() {
			l.BatchLayer.Clear()
			l.records(func(dir *directory) { dir.incomplete = "" })
		}
	}},
	{"checks nothing when it is closed", []string{"EMBEDDED-68"}, func(l *brokenUpkeep) {
		l.check = func(ctx context.Context, report func(error)) (int, error) {
			if !l.Active() {
				return 0, nil
			}
			return l.BatchLayer.Check(ctx, report)
		}
	}},
	{"compacts whatever the context says", []string{"EMBEDDED-69"}, func(l *brokenUpkeep) {
		l.compact = func(context.Context) error { return l.BatchLayer.Compact(context.Background()) }
	}},
}

// TestBrokenUpkeep is TestBrokenLayers for layers that look after themselves.
func TestBrokenUpkeep(t *testing.T) {
	for _, broken := range brokenUpkeeps {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			disk := &Disk{}
			open := func(t T, dir string) storage.EmbeddedLayer {
				l := &brokenUpkeep{brokenLayer: &brokenLayer{BatchLayer: NewBatchLayer(disk, dir)}}
				broken.harm(l)
				return l
			}
			s := embeddedSubject(open, diskOptions(disk))
			wantFailures(t, slices.Concat(layerClauses, embeddedClauses), s, broken.want...)
		})
	}
}
