package storagetest

import (
	"context"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// brokenBrowser is a store in memory whose subtrees, pages by rank or pages of directories are wrong in one way.
type brokenBrowser struct {
	*storage.Layered
	revision        func() uint64
	get             func(path string) (meta.Object, error)
	getList         func(path string) ([]meta.Object, error)
	del             func(path string) error
	page            func(pattern string, opt storage.ListOptions) (storage.Page, error)
	directoriesPage func(path string, opt storage.DirectoryOptions) (storage.DirectoryPage, error)
	iterateContext  func(ctx context.Context, pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error]
}

func (b *brokenBrowser) Revision() uint64                           { return b.revision() }
func (b *brokenBrowser) Get(path string) (meta.Object, error)       { return b.get(path) }
func (b *brokenBrowser) GetList(path string) ([]meta.Object, error) { return b.getList(path) }
func (b *brokenBrowser) Del(path string) error                      { return b.del(path) }
func (b *brokenBrowser) Page(pattern string, opt storage.ListOptions) (storage.Page, error) {
	return b.page(pattern, opt)
}
func (b *brokenBrowser) DirectoriesPage(path string, opt storage.DirectoryOptions) (storage.DirectoryPage, error) {
	return b.directoriesPage(path, opt)
}
func (b *brokenBrowser) IterateContext(ctx context.Context, pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error] {
	return b.iterateContext(ctx, pattern, opt)
}

// shallow leaves out what is more than one segment below the root of a subtree.
func shallow(pattern string, list []meta.Object) []meta.Object {
	if root, subtree := key.Root(pattern); subtree && root == "users" {
		list = slices.DeleteFunc(list, func(obj meta.Object) bool { return key.Parent(obj.Path) != root })
	}
	return list
}

func TestBrokenBrowsers(t *testing.T) {
	for _, broken := range []struct {
		name, want string
		harm       func(b *brokenBrowser)
	}{
		{"nothing is wrong", "", func(*brokenBrowser) {}},
		{"lists one level of a subtree", "DATABASE-C9", func(b *brokenBrowser) {
			b.getList = func(path string) ([]meta.Object, error) {
				list, err := b.Layered.GetList(path)
				return shallow(path, list), err
			}
		}},
		{"deletes one level of a subtree", "DATABASE-CA", func(b *brokenBrowser) {
			b.del = func(path string) error {
				if root, subtree := key.Root(path); subtree && root != "" {
					path = root + "/*"
				}
				return b.Layered.Del(path)
			}
		}},
		{"finds nothing at a subtree pattern", "DATABASE-CB", func(b *brokenBrowser) {
			b.get = func(path string) (meta.Object, error) {
				if path == "a/**" {
					return meta.Object{}, storage.ErrNotFound
				}
				return b.Layered.Get(path)
			}
		}},
		{"counts a delete of nothing as a revision", "DATABASE-CC", func(b *brokenBrowser) {
			extra := uint64(0)
			b.del = func(path string) error {
				before := b.Layered.Revision()
				err := b.Layered.Del(path)
				if path == "a/*" && b.Layered.Revision() == before {
					extra = 1
				}
				return err
			}
			b.revision = func() uint64 { return b.Layered.Revision() + extra }
		}},
		{"has pages with the revision behind their reading", "DATABASE-CD", func(b *brokenBrowser) {
			b.page = func(pattern string, opt storage.ListOptions) (storage.Page, error) {
				page, err := b.Layered.Page(pattern, opt)
				if pattern == "s/**" {
					_, e := b.Layered.Set("s/0/late", dataOf(1))
					page.Revision = b.Layered.Revision()
					if err == nil {
						err = e
					}
				}
				return page, err
			}
		}},
		{"passes over one object too few", "DATABASE-CE", func(b *brokenBrowser) {
			b.page = func(pattern string, opt storage.ListOptions) (storage.Page, error) {
				if opt.Offset > 1 && opt.Offset < math.MaxInt {
					opt.Offset--
				}
				return b.Layered.Page(pattern, opt)
			}
		}},
		{"totals the directories of a page", "DATABASE-CF", func(b *brokenBrowser) {
			b.directoriesPage = func(path string, opt storage.DirectoryOptions) (storage.DirectoryPage, error) {
				page, err := b.Layered.DirectoriesPage(path, opt)
				page.Total = len(page.Directories)
				return page, err
			}
		}},
		{"does not listen to the context of an iteration", "DATABASE-CG", func(b *brokenBrowser) {
			b.iterateContext = func(_ context.Context, pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error] {
				return b.Layered.IterateContext(context.Background(), pattern, opt)
			}
		}},
	} {
		t.Run(broken.name, func(t *testing.T) {
			s := &subject{openDatabase: func(T) storage.Database {
				l := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
				b := &brokenBrowser{
					Layered: l, revision: l.Revision, get: l.Get, getList: l.GetList, del: l.Del, page: l.Page,
					directoriesPage: l.DirectoriesPage, iterateContext: l.IterateContext,
				}
				broken.harm(b)
				return b
			}}
			wantFailures(t, slices.Concat(subtreeClauses, browseClauses), s, strings.Fields(broken.want)...)
		})
	}
}
