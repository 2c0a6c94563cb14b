package storage

import "fmt"

// Directory is what is directly below a path.
type Directory struct {
	// Name is its last segment.
	Name string `json:"name"`
	// Objects is how many objects are directly in it.
	Objects int `json:"objects"`
	// Directories is how many directories are directly in it.
	Directories int `json:"directories"`
}

// DirectoryOptions say which directories a page has. The zero value is the first 100.
type DirectoryOptions struct {
	// Limit is how many directories a page has at most; 100 when zero. A negative one is ErrInvalidLimit.
	Limit int
	// After is the name behind which the page begins, DirectoryPage.Next of the page before; empty for the first
	// page. A directory of that name need not exist.
	After string
	// Offset is how many directories, by name, come before the first that is read: a page by rank, found by a search. With
	// After it is ErrInvalidOptions; a negative one is ErrInvalidLimit. What is written between two pages moves a rank.
	Offset int
}

// DirectoryPage is a part of the directories below a path.
type DirectoryPage struct {
	// Directories are ordered by name in byte order; never nil.
	Directories []Directory `json:"directories"`
	// Total is how many directories are directly below the path, on all pages.
	Total int `json:"total"`
	// Next is the After of the page that follows; empty when there is none.
	Next string `json:"next,omitempty"`
	// Revision is that of a commit: every change up to it is in the page. See Page.Revision.
	Revision uint64 `json:"revision"`
	// Offset is how many directories come before the first of the page.
	Offset int `json:"offset,omitempty"`
}

// Directories returns the directories directly below a path, "" for the top, by name in byte
// order: what a browser of the store shows. A directory is there while it holds an
// object that is not expired, at any depth. From memory it costs its answer, else a scan of everything below the path.
func (l *Layered) Directories(path string) ([]Directory, error) {
	page, err := l.directories(path, DirectoryOptions{})
	if err != nil {
		return nil, failed("directories", path, err)
	}
	return page.Directories, nil
}

// DirectoriesPage returns a part of what Directories returns, with exact counts.
//
// Pages that follow each other show each directory that is there all the time exactly once, whatever is written
// meanwhile. From memory a page costs its directories, however many there are, and a look at each in which everything is
// expired and not removed yet. Where lists come from the persistent layer each page costs a scan of everything
// below the path.
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

// directories returns a page; a limit of 0 is for all.
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
		err = fmt.Errorf("%w: an offset of %d, expected 0 or more", ErrInvalidLimit, opt.Offset)
	case opt.Offset > 0 && opt.After != "":
		err = fmt.Errorf("%w: Offset and After, expected one of them", ErrInvalidOptions)
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
