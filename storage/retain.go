package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// Retention limits the lists that a pattern names. If several rules match a list, all of them apply.
//
// Objects that exceed the limits are deleted in the commit order, durably. Watchers receive each deletion as a "del"
// with the deleted object. AfterWrite does not run for these deletions.
type Retention struct {
	// Pattern names the lists: a valid glob whose last segment is '*', such as "logs/*" or "devices/*/readings/*", or
	// a subtree pattern, such as "logs/**". Each directory that it matches is a list of its own. For "logs/**" these
	// are logs and every directory below it, and each may hold Count objects.
	Pattern string
	// Count is the maximum number of objects in a list; 0 for no limit. The commit that exceeds it also deletes the
	// oldest objects by Created, so no reader ever sees more.
	Count int
	// Age is how long after Created an object is kept; 0 for no limit. It acts as a time to live of all objects,
	// including those that existed before the rule.
	Age time.Duration
}

// checkRetention validates rules against the layers of a run.
func (r *run) checkRetention() error {
	for _, rule := range r.options.Retention {
		err := checkPattern(rule.Pattern)
		switch {
		case err != nil:
		case !key.IsGlob(rule.Pattern) && !key.IsSubtree(rule.Pattern):
			err = fmt.Errorf("%w, expected '*' or '**' as the last segment", ErrInvalidPattern)
		case rule.Count < 0:
			err = fmt.Errorf("%w, a count of %d, expected 0 or more", ErrInvalidLimit, rule.Count)
		case rule.Age < 0:
			err = fmt.Errorf("%w, an age of %v, expected 0 or more", ErrInvalidTTL, rule.Age)
		case rule.Count > 0 && !r.atomic():
			err = fmt.Errorf("%w, which a count needs", ErrBatchUnsupported)
		}
		if err != nil {
			return fmt.Errorf("%s, %w", named("retention", rule.Pattern), err)
		}
		r.ages = r.ages || rule.Age > 0
	}
	return nil
}

// rules are Options.Retention.
type rules []Retention

// expiryOf returns when an object expires, by its time to live and by the rules; 0 for never.
func (r *run) expiryOf(obj *meta.Object) int64 { return rules(r.options.Retention).expiryOf(obj) }

func (some rules) expiryOf(obj *meta.Object) int64 {
	at := obj.Expires
	for _, rule := range some {
		if rule.Age == 0 || !key.Match(rule.Pattern, obj.Path) {
			continue
		}
		end := int64(math.MaxInt64)
		if obj.Created <= math.MaxInt64-int64(rule.Age) {
			end = obj.Created + int64(rule.Age)
		}
		if end == 0 {
			end = 1 // 0 means never
		}
		if at == 0 || end < at {
			at = end
		}
	}
	return at
}

// limitOf returns the limit of the list that holds a path; 0 for none.
func (r *run) limitOf(path string) (limit int) {
	for _, rule := range r.options.Retention {
		if rule.Count > 0 && (limit == 0 || rule.Count < limit) && key.Match(rule.Pattern, path) {
			limit = rule.Count
		}
	}
	return limit
}

// retains reports whether a write of a group can make a list too long.
func (r *run) retains(group []*write) bool {
	if len(r.options.Retention) == 0 {
		return false
	}
	return slices.ContainsFunc(leaves(group), func(w *write) bool {
		return w.stores() && r.limitOf(w.path) > 0
	})
}

// trim returns the staged changes, followed by the deletes that keep their lists within their limits, numbered from a
// revision, also on error. No other group is in progress.
func (r *run) trim(leaves []*write, revision uint64) ([]*write, error) {
	trimmed := slices.Clip(leaves)
	for _, g := range r.growths(leaves) {
		excess, err := r.excess(g)
		if err != nil {
			return trimmed, err
		}
		for _, obj := range excess {
			w := &write{op: opTrim, path: obj.Path, revision: revision}
			if err = r.find(obj.Path, &w.found); err != nil {
				return trimmed, err
			}
			r.pipeline.overlay.put(w)
			trimmed = append(trimmed, w)
			revision++
		}
	}
	return trimmed, nil
}

// growth is a directory with a limit that gains objects by staged changes.
type growth struct {
	dir    string
	limit  int
	staged map[string]*write // the last change of each path
}

// growths returns the directories that grow, with the changes in each. It costs the number of changes.
func (r *run) growths(leaves []*write) (grown []*growth) {
	var byDir map[string]*growth
	for _, w := range leaves {
		if w.err != nil || !w.stores() || w.found.exists {
			continue
		}
		dir := key.Parent(w.object.Path)
		if limit := r.limitOf(w.object.Path); limit > 0 && byDir[dir] == nil {
			if byDir == nil {
				byDir = make(map[string]*growth)
			}
			byDir[dir] = &growth{dir: dir, limit: limit, staged: make(map[string]*write)}
			grown = append(grown, byDir[dir])
		}
	}
	if grown == nil {
		return nil
	}
	for _, w := range leaves {
		if w.err == nil {
			if g := byDir[key.Parent(w.target())]; g != nil {
				g.staged[w.target()] = w
			}
		}
	}
	return grown
}

// excess returns the objects to delete from a directory after the staged changes, oldest first. It evaluates expiry
// at one time: an object that expires during the call must not count as present here and as absent there.
func (r *run) excess(g *growth) ([]*meta.Object, error) {
	dir, limit, staged := g.dir, g.limit, g.staged
	list, err := r.view.listOf(dir)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixNano()
	count := r.unexpired(list, dir, now)
	for path, w := range staged {
		old, there := list.Stored(path)
		there = there && !old.Expired(now)
		switch lives := w.stores() && !w.object.Expired(now); {
		case lives && !there:
			count++
		case !lives && there:
			count--
		}
	}
	if count <= limit {
		return nil, nil
	}
	q := pathtree.Everything(below(dir))
	q.At, q.Limit = now, count-limit+len(staged)
	var oldest []*meta.Object
	for _, n := range list.Select(q) {
		if staged[n.Path()] == nil {
			obj := n.Object()
			oldest = append(oldest, &obj)
		}
	}
	for _, w := range staged {
		if w.stores() && !w.object.Expired(now) {
			oldest = append(oldest, &w.object)
		}
	}
	slices.SortFunc(oldest, pathtree.Compare)
	return oldest[:count-limit], nil
}

// unexpired counts the objects of a directory that have not expired at a time. It costs the expired objects of the
// whole store that are not removed yet, or the directory if that is smaller.
func (r *run) unexpired(list *pathtree.Tree, dir string, now int64) int {
	held := list.Held(dir)
	visited, gone := 0, 0
	r.expirer.each(now, func(path string) bool {
		if key.Parent(path) == dir {
			if obj, ok := list.Stored(path); ok && obj.Expired(now) {
				gone++
			}
		}
		visited++
		return visited <= held
	})
	if visited > held {
		return list.Count(below(dir), now)
	}
	return held - gone
}

// below returns the pattern of all objects directly in a directory.
func below(dir string) string {
	if dir == "" {
		return "*"
	}
	return dir + "/*"
}

// retained is what the leader knows about lists with a limit if lists come from the persistent layer: their objects
// without data.
type retained struct {
	tree  *pathtree.Tree
	known map[string]bool // the directories with known content
}

// listOf returns a tree with the objects of a directory.
func (k *retained) listOf(r *run, dir string) (*pathtree.Tree, error) {
	if k.tree == nil {
		k.tree, k.known = pathtree.New(), make(map[string]bool)
	}
	if k.known[dir] {
		return k.tree, nil
	}
	var list []meta.Object
	err := r.eachInLayer(below(dir), func(obj *meta.Object) bool {
		obj.Data = nil
		list = append(list, *obj)
		return true
	})
	if err != nil {
		return nil, inLayer(err)
	}
	for _, obj := range list {
		at := r.expiryOf(&obj)
		if at != 0 {
			r.learn(obj.Path, at)
		}
		k.put(obj, at)
	}
	if len(list) > 0 {
		k.known[dir] = true
	}
	return k.tree, nil
}

func (k *retained) put(obj meta.Object, expires int64) {
	obj.Data, obj.Expires = nil, expires
	k.tree.Put(obj)
}

// note records the changes of a group.
func (k *retained) note(leaves []*write) {
	if k.tree == nil {
		return
	}
	for _, w := range leaves {
		if w.err != nil || !k.known[key.Parent(w.target())] {
			continue
		}
		if w.stores() {
			k.put(w.object, w.object.Expires)
		} else {
			k.tree.Delete(w.path)
			k.leave(w.path)
		}
	}
}

// forget records that objects are removed.
func (k *retained) forget(paths []string) {
	if k.tree == nil {
		return
	}
	k.tree.DeleteAll(paths)
	for _, path := range paths {
		k.leave(path)
	}
}

// leave drops the directory of a removed path once it is empty, so that memory use follows the content.
func (k *retained) leave(path string) {
	if dir := key.Parent(path); k.known[dir] && k.tree.Held(dir) == 0 {
		delete(k.known, dir)
	}
}

// enforce deletes objects beyond the limits when the store starts.
func (r *run) enforce() error {
	for _, rule := range r.options.Retention {
		if rule.Count == 0 {
			continue
		}
		doomed, err := r.view.matching(rule.Pattern)
		if err != nil {
			return err
		}
		objects := make([]*meta.Object, len(doomed))
		for i := range doomed {
			objects[i] = doomed[i].removed()
		}
		slices.SortFunc(objects, func(a, b *meta.Object) int {
			if c := strings.Compare(key.Parent(a.Path), key.Parent(b.Path)); c != 0 {
				return c
			}
			return pathtree.Compare(b, a) // newest first
		})
		var excess []string
		dir, n := "", 0
		for _, obj := range objects {
			if parent := key.Parent(obj.Path); n == 0 || parent != dir {
				dir, n = parent, 0
			}
			if n++; n > rule.Count {
				excess = append(excess, obj.Path)
			}
		}
		if err := r.removeAll(opDel, excess); err != nil {
			return fmt.Errorf("retention of %q, %w", rule.Pattern, err)
		}
	}
	return nil
}

// removeAll deletes those objects that still exist when their turn comes. An object that cannot be deleted does not
// affect the others: removeAll tries all of them and then returns the first error.
func (r *run) removeAll(op operation, paths []string) (first error) {
	most := 1000 // removals in a commit
	if !r.atomic() {
		most = 1
	}
	if r.shared != nil {
		most = min(most, r.shared.Limits().Changes)
	}
	for some := range slices.Chunk(paths, most) {
		err := r.removeAtOnce(op, some)
		if err != nil && len(some) > 1 && !noMoreWrites(err) {
			err = nil
			for _, path := range some {
				if e := r.removeAtOnce(op, []string{path}); err == nil {
					err = e
				}
			}
		}
		if noMoreWrites(err) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// removeAtOnce deletes objects atomically, except those that do not exist.
func (r *run) removeAtOnce(op operation, paths []string) error {
	batch := write{op: opBatch, lenient: true}
	for _, path := range paths {
		batch.parts = append(batch.parts, &write{op: op, path: path})
	}
	return r.commitParts(context.Background(), batch)
}

// noMoreWrites reports whether an error means that a store takes no writes before its next Start.
func noMoreWrites(err error) bool {
	return errors.Is(err, ErrWritesStopped) || errors.Is(err, ErrNotActive)
}
