package pathtree

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

// checkCells verifies that each cell in use has an entry, and that all others are free and empty.
func (d *directory) checkCells(t *testing.T) {
	t.Helper()
	var used []uint
	d.list.Scan(func(e entry) bool {
		used = append(used, e.cell)
		return true
	})
	used = append(used, d.cells.freed...)
	slices.Sort(used)
	for i, cell := range used {
		if cell != uint(i+1) {
			t.Fatalf("directory %q: of its cells in use or free, number %d is %d", d.path, i+1, cell)
		}
	}
	if d.cells.last != uint(len(used)) || d.list.Len() == 0 && len(used) > 0 {
		t.Fatalf("directory %q: %d cells, in use or free %d, entries %d", d.path, d.cells.last, len(used), d.list.Len())
	}
	for _, cell := range d.cells.freed {
		if n := d.cells.at(cell); n != nil {
			t.Fatalf("directory %q: a free cell holds %q", d.path, n.Path())
		}
	}
}

// The cells hold what was put into them, whatever was freed in between.
func TestCells(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var c cells
	model, most := make(map[uint]*Version), 0
	for i := range 6 * largestBlock {
		n := NewVersion(fmt.Sprint("a/", i), nil)
		switch cell := uint(random.IntN(int(c.last) + 1)); {
		case i < 3*largestBlock || model[cell] == nil || i%3 == 0:
			cell = c.add(n)
			if model[cell] != nil {
				t.Fatalf("cell %d was given out twice", cell)
			}
			model[cell] = n
			most = max(most, len(model))
		case i%3 == 1:
			c.set(cell, n)
			model[cell] = n
		default:
			c.free(cell)
			delete(model, cell)
		}
	}
	for cell := uint(1); cell <= c.last; cell++ {
		if got := c.at(cell); got != model[cell] {
			t.Fatalf("cell %d holds %v, expected %v", cell, got, model[cell])
		}
	}
	if c.last != uint(most) {
		t.Errorf("there were %d cells in use at most, and %d in all", most, c.last)
	}
}

// The memory of a directory's cells is released with its last object, and no removed object is held before.
func TestCellsAreReleased(t *testing.T) {
	for name, remove := range map[string]func(tree *Tree, paths []string){
		"one by one": func(tree *Tree, paths []string) {
			for _, path := range paths {
				tree.Delete(path)
			}
		},
		"at once": func(tree *Tree, paths []string) { tree.DeleteAll(paths) },
	} {
		t.Run(name, func(t *testing.T) {
			tree := New()
			var paths []string
			for i := range 100 {
				paths = append(paths, fmt.Sprint("d/", i))
				tree.Put(meta.Object{Path: paths[i]})
			}
			tree.Put(meta.Object{Path: "d/deeper/stays"})
			remove(tree, paths)
			d, _ := tree.state.Load().dirs.Load("d")
			if len(d.cells.blocks) > 0 || len(d.cells.freed) > 0 {
				t.Errorf("an empty directory keeps %d blocks and %d numbers", len(d.cells.blocks), len(d.cells.freed))
			}
			checkStructure(t, tree)
		})
	}
}

// The garbage collector looks neither into a version with its path and data inside, nor into a list.
func TestNoPointers(t *testing.T) {
	for _, some := range []reflect.Type{reflect.TypeFor[Version](), reflect.TypeFor[entry]()} {
		for field := range some.Fields() {
			switch field.Type.Kind() {
			case reflect.Int64, reflect.Uint64, reflect.Uint, reflect.Uint32, reflect.Uint16:
			default:
				t.Errorf("%v.%s is a %v, expected a number", some, field.Name, field.Type)
			}
		}
	}
}
