package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/all"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// The metamorphic campaign makes the same calls on every engine and mode: the answers must be equal, except for the
// times of the clock.

// subjectOf is one store under comparison.
type subjectOf struct {
	name  string
	url   string // of the engine; empty for memory alone
	cache bool
	bare  bool // without memory
	store *storage.Layered
}

// subjectsOf makes a store of every engine in every mode, and one of memory alone.
func subjectsOf(dir string) ([]*subjectOf, error) {
	subjects := []*subjectOf{{name: "memory"}}
	for _, form := range engines {
		scheme, _, _ := strings.Cut(form, ":")
		for _, mode := range []string{"", " cache", " alone"} {
			place := filepath.Join(dir, strings.ReplaceAll(scheme+mode, " ", "-"))
			if err := os.Mkdir(place, 0o700); err != nil {
				return nil, err
			}
			subjects = append(subjects, &subjectOf{
				name: scheme + mode, url: fmt.Sprintf(form, place), cache: mode == " cache", bare: mode == " alone",
			})
		}
	}
	return subjects, nil
}

func (s *subjectOf) start() (err error) {
	config := storage.LayeredConfig{Memory: storage.NewMemoryLayer()}
	config.MemoryOptions.SkipLoadMemory = s.cache
	config.MemoryOptions.CacheBytes = 4 << 10 // makes objects enter and leave the cache
	if s.bare {
		config.Memory = nil
	}
	if s.url != "" {
		if config.Embedded, err = engine.Open(s.url, all.Engines()...); err != nil {
			return err
		}
	}
	s.store = storage.New(config)
	if err := s.store.Start(quiet()); err != nil {
		return fmt.Errorf("%s: start: %w", s.name, err)
	}
	return nil
}

// metaCall is one call that returns its answer as text.
type metaCall struct {
	name string
	do   func(*storage.Layered) string
}

const restart = "restart"

// metaRound makes a random sequence of calls on all stores. It shortens a failing sequence as far as possible.
func metaRound(ctx context.Context, c config, t *tally) error {
	calls := make([]metaCall, 60)
	g := metaGenerator{r: c.rng}
	for i := range calls {
		calls[i] = g.next(i)
	}
	err := compareAll(filepath.Join(c.dir, "0"), calls, t)
	if err == nil || ctx.Err() != nil {
		return err
	}
	for i := 0; i < len(calls) && ctx.Err() == nil; {
		shorter := slices.Delete(slices.Clone(calls), i, i+1)
		if again := compareAll(filepath.Join(c.dir, fmt.Sprint(len(calls), "-", i)), shorter, t); again != nil {
			calls, err = shorter, again
			continue
		}
		i++
	}
	names := make([]string, len(calls))
	for i, call := range calls {
		names[i] = call.name
	}
	return fmt.Errorf("%w\nthe shortest sequence: %s", err, strings.Join(names, "; "))
}

// compareAll makes calls on new stores and compares the answers with those of memory.
func compareAll(dir string, calls []metaCall, t *tally) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	subjects, err := subjectsOf(dir)
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range subjects {
			if s.store != nil {
				s.store.Close()
			}
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	for _, s := range subjects {
		if err := s.start(); err != nil {
			return err
		}
	}
	for i, call := range calls {
		want := ""
		for n, s := range subjects {
			if call.name == restart {
				if s.url != "" { // memory alone is not durable
					s.store.Close()
					if err := s.start(); err != nil {
						return err
					}
				}
				continue
			}
			got := call.do(s.store)
			t.add("calls", 1)
			if n == 0 {
				want = got
			} else if got != want {
				return fmt.Errorf("call %d, %s: %s answers %s, memory %s", i, call.name, s.name, got, want)
			}
		}
	}
	return nil
}

// metaGenerator draws calls whose answers do not depend on the clock.
type metaGenerator struct{ r *rand.Rand }

func (g *metaGenerator) pick(from ...string) string { return from[g.r.IntN(len(from))] }

func (g *metaGenerator) path() string {
	return g.pick("a", "b", "a/x", "a/y", "b/x", "a/x/1", "a/x/2", "a/y/1", "b/x/1")
}

func (g *metaGenerator) pattern() string {
	return g.pick("*", "a/*", "*/*", "a/x/*", "*/x/*", "a/*/1", "a*", "*/x", "a/x/1*", "none/*")
}

func (g *metaGenerator) next(i int) metaCall {
	path, pattern := g.path(), g.pattern()
	data := []byte(fmt.Sprintf(`{"call":%d,"text":"%s"}`, i, strings.Repeat("é", g.r.IntN(30))))
	created, updated := int64(g.r.IntN(20)), int64(g.r.IntN(3))
	limit, descending := g.r.IntN(5), g.r.IntN(2) == 0
	switch g.r.IntN(16) {
	case 0, 1, 2, 3:
		return metaCall{"SetWithMeta " + path, func(s *storage.Layered) string {
			index, err := s.SetWithMeta(path, data, created, updated)
			return answer(index, err)
		}}
	case 4:
		return metaCall{"Del " + path, func(s *storage.Layered) string { return answer("", s.Del(path)) }}
	case 5:
		return metaCall{"Del " + pattern, func(s *storage.Layered) string { return answer("", s.Del(pattern)) }}
	case 6, 7:
		return g.batch(i, data)
	case 8:
		return metaCall{"set if absent " + path, func(s *storage.Layered) string {
			_, err := s.SetWith(path, data, storage.SetOptions{IfAbsent: true, Times: &storage.Times{Created: created}})
			return answer("", err)
		}}
	case 9:
		return metaCall{restart, nil}
	case 10:
		return metaCall{"Keys", func(s *storage.Layered) string {
			keys, err := s.Keys()
			return answer(strings.Join(keys, " "), err)
		}}
	case 11:
		return metaCall{"Count " + pattern, func(s *storage.Layered) string {
			n, err := s.Count(pattern)
			return answer(fmt.Sprint(n), err)
		}}
	case 12:
		return metaCall{fmt.Sprint("GetNRange ", pattern), func(s *storage.Layered) string {
			found, err := s.GetNRange(pattern, limit+1, created, created+7)
			return answer(show(found), err)
		}}
	case 13:
		return metaCall{"pages of " + pattern, func(s *storage.Layered) string { return pages(s, pattern, limit+1, descending) }}
	case 14:
		if i%20 == 0 {
			return metaCall{"Clear", func(s *storage.Layered) string { return answer("", s.Truncate()) }}
		}
		fallthrough
	default:
		return metaCall{"GetN " + pattern, func(s *storage.Layered) string {
			found, err := s.GetN(pattern, limit)
			return answer(show(found), err)
		}}
	}
}

func (g *metaGenerator) batch(i int, data []byte) metaCall {
	changes := map[string]bool{} // path: it is set, else deleted
	for range 1 + g.r.IntN(4) {
		changes[g.path()] = g.r.IntN(4) > 0
	}
	paths := slices.Sorted(maps.Keys(changes))
	return metaCall{fmt.Sprint("batch ", changes), func(s *storage.Layered) string {
		var b storage.Batch
		for n, path := range paths {
			if changes[path] {
				b.SetWith(path, data, storage.SetOptions{Times: &storage.Times{Created: int64(i*10 + n)}})
			} else {
				b.Del(path)
			}
		}
		_, err := s.Commit(&b)
		return answer("", err)
	}}
}

// answer returns a result as text. Of an error it includes only what callers can rely on.
func answer(result string, err error) string {
	for _, known := range []error{storage.ErrNotFound, storage.ErrConflict, storage.ErrInvalidPattern} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return result
}

// show returns a list as text, without revisions: even a glob delete of nothing takes a revision.
func show(objects []meta.Object) string {
	lines := make([]string, len(objects))
	for i, obj := range objects {
		lines[i] = fmt.Sprintf("%s@%d/%d=%s", obj.Path, obj.Created, obj.Updated, obj.Data)
	}
	return strings.Join(lines, " ")
}

// pages reads a list page by page.
func pages(s *storage.Layered, pattern string, limit int, descending bool) string {
	var all []string
	opt := storage.ListOptions{Limit: limit, Descending: descending}
	for {
		page, err := s.Page(pattern, opt)
		if err != nil {
			return answer("", err)
		}
		all = append(all, show(page.Objects))
		if opt.Cursor = page.Next; opt.Cursor == "" {
			return strings.Join(all, " | ")
		}
	}
}
