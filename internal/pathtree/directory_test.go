package pathtree

import (
	"fmt"
	"slices"
	"testing"

	"github.com/oolith-db/oolith/meta"
)

// A search finds the entry next to a position, also between many of one time.
func TestSeek(t *testing.T) {
	for _, times := range []int64{1, 3, 40} {
		tree := New()
		var all []Position
		for i := range int64(40) {
			p := Position{Created: 2 * (i % times), Path: fmt.Sprintf("d/%02d", 2*i)}
			tree.Put(meta.Object{Path: p.Path, Created: p.Created})
			all = append(all, p)
		}
		slices.SortFunc(all, func(a, b Position) int { return a.Compare(&b) })
		d := tree.state.Load().home(tree.Latest("d/00"))
		for created := int64(-1); created <= 2*times; created++ {
			for i := -1; i <= 80; i++ {
				path := fmt.Sprintf("d/%02d", i)
				switch i {
				case -1:
					path = ""
				case 80:
					path = maxPath
				}
				at, _ := slices.BinarySearchFunc(all, Position{created, path}, func(a, b Position) int { return a.Compare(&b) })
				for descending, want := range map[bool]int{false: at, true: at - 1} {
					e, ok := d.seek(created, path, descending)
					if want < 0 || want == len(all) {
						if ok {
							t.Fatalf("%d times, (%d, %q), descending %v: %v, expected none", times, created, path, descending, d.at(e).Position())
						}
						continue
					}
					if !ok || d.at(e).Position() != all[want] {
						t.Fatalf("%d times, (%d, %q), descending %v: %v, %v, expected %v", times, created, path, descending, e, ok, all[want])
					}
				}
			}
		}
	}
}
