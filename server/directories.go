package server

import (
	"net/http"

	"github.com/oolith-db/oolith/storage"
)

// The tree of the store without what belongs to the server; and who asks.

// directoriesPage is a page of directories without the server's own. The rest keep their ranks among themselves.
func (s *Server) directoriesPage(path string, opt storage.DirectoryOptions) (page storage.DirectoryPage, err error) {
	if path != "" || !s.hasReserved() {
		return s.store.DirectoriesPage(path, opt)
	}
	// Where the one that is hidden stands: behind all of smaller names.
	at, err := s.store.DirectoriesPage("", storage.DirectoryOptions{After: reserved, Limit: 1})
	if err != nil {
		return page, err
	}
	rank := at.Offset - 1
	if opt.After == "" && opt.Offset >= rank {
		opt.Offset++
	}
	if page, err = s.store.DirectoriesPage("", opt); err != nil {
		return page, err
	}
	page.Total--
	if page.Offset > rank {
		page.Offset--
	}
	for i := range page.Directories {
		if page.Directories[i].Name == reserved {
			page.Directories = append(page.Directories[:i:i], page.Directories[i+1:]...)
			break
		}
	}
	return page, nil
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
