package server

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// The tree of the store, level by level; and who asks.

// mostDirectories is how many directories a page has at most.
const mostDirectories = 1000

// directories answers /~/directories: a part of the directories directly below a path, by name, with exact counts.
func (c *call) directories() error {
	if err := c.onlyRead(); err != nil {
		return err
	}
	query, err := c.parameters("path", "limit", "after", "at")
	if err != nil {
		return err
	}
	path, below := query.Get("path"), "**"
	if path != "" {
		below = path + "/**"
		if err := key.Check(below); err != nil || key.HasGlob(path) {
			return badParameter("path", "%q, expected the path of a directory, or nothing for the top", clip(path))
		}
	}
	if err := c.requireAllowed(Read, below); err != nil {
		return err
	}
	opt, err := directoryOptions(query)
	if err != nil {
		return err
	}
	page, hidden, err := c.s.shownDirectories(path, opt)
	if err != nil {
		return err
	}
	objects, pattern := 0, "*"
	if path != "" {
		pattern = path + "/*"
	}
	if objects, err = c.s.store.Count(pattern); err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return c.writeJSON(http.StatusOK, struct {
		Path    string `json:"path"`
		Objects int    `json:"objects"`
		storage.DirectoryPage
		At int `json:"at"`
	}{path, objects, page, page.Offset - hidden})
}

func directoryOptions(query url.Values) (opt storage.DirectoryOptions, err error) {
	opt.After = query.Get("after")
	for _, name := range []string{"limit", "at"} {
		if !query.Has(name) {
			continue
		}
		n, err := strconv.Atoi(query.Get(name))
		switch {
		case name == "limit" && (err != nil || n < 1 || n > mostDirectories):
			return opt, badParameter(name, "%q, expected 1 to %d", clip(query.Get(name)), mostDirectories)
		case name == "at" && (err != nil || n < 0):
			return opt, badParameter(name, "%q, expected how many directories come before the first, from 0", clip(query.Get(name)))
		case name == "at" && opt.After != "":
			return opt, badParameter(name, "there is the parameter after too, expected one of them")
		case name == "at":
			opt.Offset = n
		default:
			opt.Limit = n
		}
	}
	return opt, nil
}

// shownDirectories is a page of directories without the server's own, and how many of those come before it. The rest keep
// their ranks among themselves.
func (s *Server) shownDirectories(path string, opt storage.DirectoryOptions) (page storage.DirectoryPage, before int, err error) {
	if path != "" {
		page, err = s.store.DirectoriesPage(path, opt)
		return page, 0, err
	}
	own, err := s.store.Count(reserved + "/**")
	if err != nil || own == 0 {
		page, err = s.store.DirectoriesPage(path, opt)
		return page, 0, err
	}
	// Where the one that is hidden stands: behind all of smaller names.
	at, err := s.store.DirectoriesPage("", storage.DirectoryOptions{After: reserved, Limit: 1})
	if err != nil {
		return page, 0, err
	}
	rank := at.Offset - 1
	if opt.Offset > rank {
		opt.Offset++
	}
	if page, err = s.store.DirectoriesPage("", opt); err != nil {
		return page, 0, err
	}
	page.Total--
	if page.Offset > rank {
		before = 1
	}
	for i := range page.Directories {
		if page.Directories[i].Name == reserved {
			page.Directories = append(page.Directories[:i:i], page.Directories[i+1:]...)
			break
		}
	}
	return page, before, nil
}

// whoami answers /~/whoami: who the server takes the client for, and what that one may do everywhere.
func (c *call) whoami() error {
	if err := c.onlyRead(); err != nil {
		return err
	}
	may := func(verb Verb) bool { return c.allow(verb, "**") == nil }
	answer := struct {
		Store         string         `json:"store"`
		Authenticated bool           `json:"authenticated"`
		Name          string         `json:"name,omitempty"`
		Token         *Token         `json:"token,omitempty"`
		May           map[Verb]bool  `json:"may"`
		Limits        map[string]int `json:"limits"`
	}{
		Store: c.s.storeID(), Authenticated: c.s.authenticates(), Name: nameOf(c.identity),
		May:    map[Verb]bool{Read: may(Read), Write: may(Write), Admin: may(Admin)},
		Limits: map[string]int{"batchChanges": c.s.limits.BatchChanges, "listObjects": c.s.limits.ListObjects, "body": int(min(c.s.limits.Body, 1<<31-1))},
	}
	if token, ok := c.identity.(*held); ok {
		answer.Name, answer.Token = token.Name, &token.Token
	}
	c.w.Header().Set("Cache-Control", "no-store")
	return c.writeJSON(http.StatusOK, answer)
}
