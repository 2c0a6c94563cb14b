package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/oolith-db/oolith/internal/pathtree"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
)

// view is where readers find the content of a store and where commits become visible to them: memory that holds all
// of it (memoryView), or the persistent layer, with or without a cache (layerView).
//
// Paths, patterns and queries passed to it are valid. Objects that it returns are complete: they have a revision, and
// the end that the rules give them.
type view interface {
	// For any reader. Expired objects are never returned.

	// get returns an object, or ErrNotFound.
	get(path string) (meta.Object, error)
	// list returns the objects of a query, and paths their paths.
	list(q pathtree.Query) ([]meta.Object, error)
	paths(q pathtree.Query) ([]string, error)
	// keys returns all paths in byte order.
	keys() ([]string, error)
	count(pattern string) (int, error)
	// tree returns a tree of everything below a path. Its objects have no data.
	tree(path string) (*pathtree.Tree, error)
	// iterate reads while the loop runs.
	iterate(ctx context.Context, q pathtree.Query) iter.Seq2[meta.Object, error]
	// stats adds the metrics of what is in memory.
	stats(stats *Stats)

	// For the leader of the pipeline.

	// find returns what a write finds at a path.
	find(path string) (found, error)
	// matching returns the unexpired matches of a pattern, everything all objects, expired or not. Both are
	// unordered, since writers wait for them.
	matching(pattern string) ([]removal, error)
	everything() ([]removal, error)
	// listOf returns a tree with the objects of a directory, for lists with a limit.
	listOf(dir string) (*pathtree.Tree, error)
	// collect starts to read a state at the present revision.
	collect(s *state) error
	// hide keeps readers from seeing the changes of a group too early, until unhide. hidePaths does so for deletes,
	// hideAll for a delete of everything.
	hide(leaves []*write) (unhide func())
	hidePaths(paths []string) (unhide func())
	hideAll() (unhide func())
	// apply makes the changes of a group visible, remove makes deletes visible, clear a delete of everything. They
	// cannot fail.
	apply(g orderedGroup)
	remove(paths []string)
	clear()

	// needsLayer reports whether a state is read from the persistent layer, which can fail and ends with Close.
	needsLayer() bool
}

// removal is an object that a glob delete or a clear deletes.
type removal struct {
	path    string
	version *pathtree.Version // in memory
	object  *meta.Object      // nil until somebody wants it of memory
	own     int64             // the end of its own time to live, for the layer
}

// pathsOf returns the paths of removals.
func pathsOf(doomed []removal) []string {
	paths := make([]string, len(doomed))
	for i := range doomed {
		paths[i] = doomed[i].path
	}
	return paths
}

// removed returns the object. The caller may keep it.
func (d *removal) removed() *meta.Object {
	if d.object == nil {
		obj := d.version.Object()
		d.object = &obj
	}
	return d.object
}

// eachInLayer visits the objects of a pattern in the persistent layer, "" for everything, expired or not, in the
// order of Scanner, until visit returns false. visit owns the object. Readers use layerView.each.
func (r *run) eachInLayer(pattern string, visit func(obj *meta.Object) bool) error {
	for obj, err := range Scan(r.layer, pattern) {
		if err != nil {
			return err
		}
		if !visit(&obj) {
			return nil
		}
	}
	return nil
}

// findInLayer is find for what only the persistent layer knows.
func (r *run) findInLayer(path string) (found, error) {
	obj, err := getFrom(r.layer, path)
	switch {
	case errors.Is(err, ErrNotFound):
		return found{}, nil
	case errors.Is(err, ErrUndecodable):
		return found{exists: true, broken: err, object: &meta.Object{Path: path, Index: key.LastIndex(path)}}, nil
	case err != nil:
		return found{}, inLayer(err)
	}
	obj = placed(obj, path)
	own := obj.Expires
	r.complete(&obj)
	return r.foundObject(&obj, own), nil
}

// inLayer marks an error as coming from the persistent layer, for a caller that did not address the layer.
func inLayer(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("persistent layer: %w", err)
}
