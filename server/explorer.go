package server

import (
	"net/http"

	"github.com/oolith-db/oolith/server/ui"
)

// The explorer. The page contains no data, so it needs no token; the requests it makes do.

// isNavigation reports whether a request for "/" comes from a browser that shows a page.
func (c *call) isNavigation() bool {
	return (c.r.Method == http.MethodGet || c.r.Method == http.MethodHead) && !isUpgrade(c.r) && c.accepts("text/html") && c.query().Get("api") == ""
}

// explorer answers with a file of the explorer, or with its page for any other name, which is the name of a view.
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
	// The page may load only its own files, and no other page may embed it.
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
