package server

import (
	"net/http"

	"github.com/oolith-db/oolith/storage"
)

// Directories without the server's own, and the identity of a client.

// directoriesPage returns a page of directories without the server's own, which does not count in ranks.
func (s *Server) directoriesPage(path string, opt storage.DirectoryOptions) (page storage.DirectoryPage, err error) {
	if path != "" || !s.hasReserved() {
		return s.store.DirectoriesPage(path, opt)
	}
	// The rank of the hidden directory is the number of smaller names.
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

// whoami answers /~/whoami: the client's identity and rights.
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
