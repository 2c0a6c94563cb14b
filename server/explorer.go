package server

import (
	"net/http"

	"github.com/oolith-db/oolith/server/ui"
)

// The explorer: a page that shows the store. It has no data of its own and so asks for no token; what it reads does.

// isNavigation reports whether a request for "/" is that of a browser which shows a page.
func (c *call) isNavigation() bool {
	return (c.r.Method == http.MethodGet || c.r.Method == http.MethodHead) && !isUpgrade(c.r) && c.accepts("text/html") && c.query().Get("api") == ""
}

// explorer answers with a file of the explorer, or its page for any other name: that is what a view of it is called.
func (c *call) explorer(name string) error {
	if err := c.onlyRead(); err != nil {
		return err
	}
	header := c.w.Header()
	file, static := ui.Find(name)
	switch {
	case static && file == nil:
		return noSuchResource("ui/" + name)
	case static:
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	default:
		file = ui.Page()
		header.Set("Cache-Control", "no-cache")
	}
	// Nothing but its own files runs in the page, and no other page frames it.
	header.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Etag", file.Tag)
	if c.r.Header.Get("If-None-Match") == file.Tag {
		c.write(http.StatusNotModified, "", nil)
		return nil
	}
	body := file.Text
	if c.takesGzip() {
		header.Set("Content-Encoding", "gzip")
		body = file.Gzipped
	}
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Type", file.Type)
	c.send(http.StatusOK, body)
	return nil
}
