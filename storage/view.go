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

// view is where readers find what a store holds, and where commits take effect for them: memory that holds all of it
// (memoryView), or the persistent layer, with a cache in front of it or without (layerView).
//
// Paths, patterns and queries that are handed to it are valid. Objects that it returns are complete: they have a
// revision, and the end that the rules give them.
type view interface {
	// What follows is for any reader. Nothing that is expired is returned.

	// get returns an object, or ErrNotFound.
	get(path string) (meta.Object, error)
	// list returns the objects of a query, and paths their paths.
	list(q pathtree.Query) ([]meta.Object, error)
	paths(q pathtree.Query) ([]string, error)
	// keys returns all paths in byte order.
	keys() ([]string, error)
	count(pattern string) (int, error)
	// tree returns a tree of what is below a path, in which the objects have no data.
	tree(path string) (*pathtree.Tree, error)
	// iterate reads on as the loop goes.
	iterate(ctx context.Context, q pathtree.Query) iter.Seq2[meta.Object, error]
	// stats adds the figures of what is in memory.
	stats(stats *Stats)

	// What follows is for the leader of the pipeline.

	// find returns what a write finds at a path.
	find(path string) (found, error)
	// matching returns what matches a pattern and is not expired, everything what there is, expired or not. Both are in
	// no order: writers wait meanwhile.
	matching(pattern string) ([]removal, error)
	everything() ([]removal, error)
	// listOf returns a tree that holds the objects of a directory, for lists with a limit.
	listOf(dir string) (*pathtree.Tree, error)
	// collect begins to read a state at the present revision.
	collect(s *state) error
	// hide keeps readers off what a group is about to change, where they could see it too early, until unhide.
	// hidePaths is hide for deletes, hideAll for that of everything.
	hide(leaves []*write) (unhide func())
	hidePaths(paths []string) (unhide func())
	hideAll() (unhide func())
	// apply makes the changes of a group visible, remove deletes, clear that of everything. They cannot fail.
	apply(g orderedGroup)
	remove(paths []string)
	clear()

	// needsLayer reports whether a state is read from the persistent layer, which can fail and ends with Close.
	needsLayer() bool
}

// removal is an object that a glob delete or a clear removes.
type removal struct {
	path    string
	version *pathtree.Version // in memory
	object  *meta.Object      // nil until somebody wants it of memory
	own     int64             // the end of its own time to live, for the layer
}

// pathsOf returns the paths of what is removed.
func pathsOf(doomed []removal) []string {
	paths := make([]string, len(doomed))
	for i := range doomed {
		paths[i] = doomed[i].path
	}
	return paths
}

// removed returns the object, to be kept by anybody.
func (d *removal) removed() *meta.Object {
	if d.object == nil {
		obj := d.version.Object()
		d.object = &obj
	}
	return d.object
}

// eachInLayer visits what the persistent layer holds of a pattern, "" for everything, expired or not, in the order of
// Scanner, until visit returns false. The object is visit's own. Readers have layerView.each.
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

// findInLayer is find for what only the persistent layer can tell.
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

// inLayer says of an error that a caller did not ask the persistent layer for that it came from there.
func inLayer(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("persistent layer: %w", err)
}
