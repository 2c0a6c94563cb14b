package server

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// Counts and directories, for clients that browse the store.

// count answers /~/count: the number of objects that match a pattern. If the request may see only some of them, it
// counts those.
func (c *call) count() error {
	if err := c.onlyRead(); err != nil {
		return err
	}
	query, err := c.parameters("pattern")
	if err != nil {
		return err
	}
	pattern := query.Get("pattern")
	if err := key.Check(pattern); err != nil || !key.HasGlob(pattern) {
		return badParameter("pattern", "%q, expected a pattern such as a/*", clip(pattern))
	}
	if err := c.requireAllowed(Read, pattern); err != nil {
		return err
	}
	count := 0
	if c.s.opt.View == nil && !reaches(pattern) {
		count, err = c.s.store.Count(pattern)
	} else {
		for obj, readErr := range c.s.store.IterateContext(c.r.Context(), pattern, storage.ListOptions{}) {
			if err = readErr; err != nil {
				break
			}
			if _, seen := c.view(&obj); seen {
				count++
			}
		}
	}
	if err != nil {
		return err
	}
	return c.writeJSON(http.StatusOK, map[string]int{"count": count})
}

// directories answers /~/directories: a page of the directories directly below a path, with their numbers of objects
// and directories. The counts include objects that View hides, so it rejects a request that may see only some
// objects.
func (c *call) directories() error {
	if err := c.onlyRead(); err != nil {
		return err
	}
	query, err := c.parameters("path", "limit", "after", "at")
	if err != nil {
		return err
	}
	path, pattern := query.Get("path"), "**"
	if query.Has("path") && path != "" {
		if err := key.Check(path); err != nil || key.HasGlob(path) {
			return badParameter("path", "%q, expected the path of a directory such as a/b", clip(path))
		}
		pattern = path + "/**"
	}
	if err := c.requireAllowed(Read, pattern); err != nil {
		return err
	}
	if c.s.opt.View != nil {
		return problem(Forbidden, "each client sees its own part of the objects, so there are no directories")
	}
	var opt storage.DirectoryOptions
	if query.Has("limit") {
		if opt.Limit, err = strconv.Atoi(query.Get("limit")); err != nil || opt.Limit < 1 || opt.Limit > c.s.limits.ListObjects {
			return badParameter("limit", "%q, expected 1 to %d", clip(query.Get("limit")), c.s.limits.ListObjects)
		}
	}
	opt.After = query.Get("after")
	if query.Has("at") {
		if opt.Offset, err = strconv.Atoi(query.Get("at")); err != nil || opt.Offset < 0 {
			return badParameter("at", "%q, expected the number of directories to skip, 0 or more", clip(query.Get("at")))
		}
		if opt.Offset > 0 && opt.After != "" {
			return badParameter("at", "the parameter after is set too, expected one of them")
		}
	}
	page, err := c.s.directoriesPage(path, opt)
	if err != nil {
		if errors.Is(err, storage.ErrInvalidPath) {
			return badParameter("path", "%v", err)
		}
		return err
	}
	c.w.Header().Set("Cache-Control", "no-cache")
	return c.writeJSON(http.StatusOK, page)
}

// hasReserved reports whether the store has the directory of the server.
func (s *Server) hasReserved() bool {
	page, err := s.store.DirectoriesPage(reserved, storage.DirectoryOptions{Limit: 1})
	return err == nil && len(page.Directories) > 0
}
