package storage

import "fmt"

// Directory describes a directory: its name and its direct content.
type Directory struct {
	// Name is the last segment of the directory's path.
	Name string `json:"name"`
	// Objects is the number of objects directly in the directory.
	Objects int `json:"objects"`
	// Directories is the number of directories directly in the directory.
	Directories int `json:"directories"`
}

// DirectoryOptions select a page of directories. The zero value selects the first 100.
type DirectoryOptions struct {
	// Limit is the maximum number of directories in a page; 100 when zero. A negative limit fails with
	// ErrInvalidLimit.
	Limit int
	// After is the name after which the page begins: DirectoryPage.Next of the previous page, or empty for the first
	// page. A directory of that name need not exist.
	After string
	// Offset skips that many directories, in order of name: a page by rank, found by a search. Offset together with
	// After fails with ErrInvalidOptions, a negative one with ErrInvalidLimit. Writes between two pages shift ranks.
	Offset int
}

// DirectoryPage is a page of the directories below a path.
type DirectoryPage struct {
	// Directories are sorted by name in byte order. The slice is never nil.
	Directories []Directory `json:"directories"`
	// Total is the number of directories directly below the path, on all pages.
	Total int `json:"total"`
	// Next is the After of the next page; empty on the last page.
	Next string `json:"next,omitempty"`
	// Revision is the revision of a commit. The page includes every change up to it. See Page.Revision.
	Revision uint64 `json:"revision"`
	// Offset is the number of directories before the first one in the page.
	Offset int `json:"offset,omitempty"`
}

// Directories returns the directories directly below a path ("" for the top), sorted by name in byte order. A
// directory exists as long as it holds an unexpired object at any depth. From memory the cost is that of the result.
// Otherwise it is a scan of everything below the path.
func (l *Layered) Directories(path string) ([]Directory, error) {
	page, err := l.directories(path, DirectoryOptions{})
	if err != nil {
		return nil, failed("directories", path, err)
	}
	return page.Directories, nil
}

// DirectoriesPage returns a page of the directories below a path, with exact counts.
//
// Consecutive pages show each directory that exists throughout exactly once, whatever is written at the same time.
// From memory a page costs its directories, plus a look at each directory whose objects are all expired but not yet
// removed. If lists come from the persistent layer, each page costs a scan of everything below the path.
func (l *Layered) DirectoriesPage(path string, opt DirectoryOptions) (DirectoryPage, error) {
	if opt.Limit == 0 {
		opt.Limit = defaultPage
	}
	page, err := l.directories(path, opt)
	if err != nil {
		return DirectoryPage{}, failed("directories", path, err)
	}
	return page, nil
}

// directories returns a page; a limit of 0 means all.
func (l *Layered) directories(path string, opt DirectoryOptions) (page DirectoryPage, err error) {
	r, err := l.active()
	if err == nil && path != "" {
		err = checkKey(path)
	}
	switch {
	case err != nil:
	case opt.Limit < 0:
		err = ErrInvalidLimit
	case opt.Offset < 0:
		err = fmt.Errorf("%w, offset %d, expected 0 or more", ErrInvalidLimit, opt.Offset)
	case opt.Offset > 0 && opt.After != "":
		err = fmt.Errorf("%w, both Offset and After are set, expected one of them", ErrInvalidOptions)
	}
	if err != nil {
		return DirectoryPage{}, err
	}
	r.beforeRead(path)
	if err := r.checkAge(); err != nil {
		return DirectoryPage{}, err
	}
	page.Revision = r.visible()
	tree, err := r.view.tree(path)
	if err != nil {
		return DirectoryPage{}, err
	}
	children, total, rank, next := tree.Children(path, opt.After, opt.Offset, opt.Limit)
	page.Directories, page.Total, page.Offset, page.Next = make([]Directory, len(children)), total, rank, next
	for i, child := range children {
		page.Directories[i] = Directory{child.Name, child.Objects, child.Children}
	}
	return page, nil
}
