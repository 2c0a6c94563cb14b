package server

import (
	"fmt"
	"net/url"
	"sync"

	"github.com/oolith-db/oolith/monotonic"
	"github.com/oolith-db/oolith/storage"
)

// What the store is about to have.

var listParameters = []string{"limit", "cursor", "order", "from", "to", "v"}

func (c *call) rankParameter(url.Values, *storage.ListOptions) error { return nil }

var processID = sync.OnceValue(func() string { return fmt.Sprintf("%016x", uint64(monotonic.Now())) })

func (s *Server) storeID() string { return processID() }

func (s *Server) revision() uint64 { return s.store.Stats().Revision }

// page reads a page, and the revision from which on changes may be missing in it.
func (c *call) page(pattern string, opt storage.ListOptions) (storage.Page, uint64, error) {
	revision := c.s.revision()
	page, err := c.s.store.Page(pattern, opt)
	return page, revision, err
}
