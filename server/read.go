package server

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

const (
	methods     = "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"
	patchTypes  = mergePatch + ", " + jsonPatch
	mergePatch  = "application/merge-patch+json"
	jsonPatch   = "application/json-patch+json"
	listMethods = "GET, HEAD, POST, DELETE, OPTIONS"
)

// resource answers a request for a path or pattern.
func (c *call) resource() error {
	pattern := key.HasGlob(c.path)
	switch c.r.Method {
	case http.MethodGet, http.MethodHead:
		if followed, err := c.follow(); followed {
			return err
		}
		if err := c.requireAllowed(Read, c.path); err != nil {
			return err
		}
		c.w.Header()["Vary"] = variesByAll
		return c.read()
	case http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
		return c.change()
	case http.MethodOptions:
		header := c.w.Header()
		header.Set("Allow", methods)
		header.Set("Accept-Patch", patchTypes)
		if pattern {
			header.Set("Allow", listMethods)
			header.Del("Accept-Patch")
		}
		c.write(http.StatusNoContent, "", nil)
		return nil
	}
	return allowed(methods, c.r.Method)
}

// read answers with the object at a path or the list of a pattern.
func (c *call) read() error {
	if key.HasGlob(c.path) {
		return c.list()
	}
	return c.get()
}

// get answers with the object at a path.
func (c *call) get() error {
	if _, err := c.parameters("v"); err != nil {
		return err
	}
	cond, err := c.conditions()
	if err != nil {
		return err
	}
	obj, err := c.s.store.Get(c.path)
	if err == nil {
		if seen, ok := c.view(&obj); ok {
			return c.sendObject(http.StatusOK, seen, cond)
		}
		err = storage.ErrNotFound
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if !cond.holds(0) {
		return c.failed(c.path, nil)
	}
	return notFound(c.path).saying("ooo: empty key")
}

func notFound(path string) *Problem {
	return problem(NotFound, "there is no object at %q", clip(path))
}

// sendObject answers with an object, or with 304 if the client has it.
func (c *call) sendObject(status int, obj *meta.Object, cond condition) error {
	header := c.w.Header()
	header.Set("Etag", c.s.tag(obj.Revision))
	header["Cache-Control"] = noCache
	if obj.Expires != 0 {
		left := time.Until(time.Unix(0, obj.Expires))
		header.Set("Oolith-Ttl", strconv.FormatInt(max(1, int64((left+time.Second-1)/time.Second)), 10))
	}
	if cond.match.given && !cond.match.has(obj.Revision) {
		return c.failed(obj.Path, obj)
	}
	if cond.noneMatch.given && cond.noneMatch.has(obj.Revision) {
		return c.notModified()
	}
	full, contentType := c.full()
	c.write(status, contentType, rawObject(obj, full))
	return nil
}

// list answers with the objects that match a pattern: the whole list, newest first, or the requested page.
func (c *call) list() error {
	query, err := c.listQuery()
	if err != nil {
		return err
	}
	cond, err := c.conditions()
	if err != nil {
		return err
	}
	whole := query.Limit == 0
	most := c.s.limits.ListObjects
	if whole {
		query.Limit = most
	}
	page, err := c.s.store.Page(c.path, query)
	if err != nil {
		return err
	}
	if err := c.s.checkSize(&page, whole); err != nil {
		return err
	}
	objects := page.Objects
	if c.s.opt.View != nil || reaches(c.path) {
		objects = make([]meta.Object, 0, len(page.Objects))
		for i := range page.Objects {
			if seen, ok := c.view(&page.Objects[i]); ok {
				objects = append(objects, *seen)
			}
		}
	}
	header := c.w.Header()
	number := listNumber(objects, page.Next != "")
	header.Set("Etag", c.s.tag(number))
	header.Set("Oolith-Revision", strconv.FormatUint(page.Revision, 10))
	header["Cache-Control"] = noCache
	if page.Next != "" {
		header.Set("Link", "<"+c.nextPage(page.Next)+`>; rel="next"`)
	}
	if cond.match.given && !cond.match.has(number) {
		return problem(ConditionFailed, "%q: the condition does not hold, the list has changed", clip(c.path)).
			with("revision", page.Revision).header("Etag", c.s.tag(number))
	}
	if cond.noneMatch.given && cond.noneMatch.has(number) {
		return c.notModified()
	}
	full, contentType := c.full()
	c.write(http.StatusOK, contentType, appendList(objects, full))
	return nil
}

// checkSize rejects a list or a page that is too large for one answer. It is never truncated.
func (s *Server) checkSize(page *storage.Page, whole bool) error {
	const hint = "request a part with the parameter limit, such as ?limit=100"
	if whole && page.Next != "" {
		return problem(ListTooLarge, "the list has more than %d objects, the limit ListObjects; "+hint, s.limits.ListObjects).
			with("limit", s.limits.ListObjects).with("parameter", "limit")
	}
	size := int64(0)
	for i := range page.Objects {
		size += int64(len(page.Objects[i].Data))
	}
	if size > s.limits.ListBytes && len(page.Objects) > 1 {
		return problem(ListTooLarge, "%d objects have %d bytes of data, more than %d, the limit ListBytes; "+hint,
			len(page.Objects), size, s.limits.ListBytes).with("limit", s.limits.ListBytes).with("parameter", "limit")
	}
	return nil
}

// nextPage returns the address of the page after a cursor.
func (c *call) nextPage(cursor string) string {
	query := c.r.URL.Query()
	query.Set("cursor", cursor)
	query.Del("at")
	return c.r.URL.EscapedPath() + "?" + query.Encode()
}

// listQuery parses the parameters of a list. It ignores those of older clients.
func (c *call) listQuery() (opt storage.ListOptions, err error) {
	query, err := c.parameters("limit", "cursor", "order", "from", "to", "at", "v")
	if err != nil {
		return opt, err
	}
	return listOptions(query, c.s.limits.ListObjects)
}

// listOptions parses the requested part of a list, newest first by default.
func listOptions(query url.Values, most int) (opt storage.ListOptions, err error) {
	opt.Descending = true
	if text := query.Get("limit"); query.Has("limit") {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 1 || limit > most {
			return opt, badParameter("limit", "%q, expected 1 to %d", clip(text), most)
		}
		opt.Limit = limit
	}
	if text := query.Get("order"); query.Has("order") {
		if text != "asc" && text != "desc" {
			return opt, badParameter("order", "%q, expected asc (oldest first) or desc", clip(text))
		}
		opt.Descending = text == "desc"
	}
	if opt.From, err = timeParameter(query, "from"); err != nil {
		return opt, err
	}
	if opt.To, err = timeParameter(query, "to"); err != nil {
		return opt, err
	}
	if opt.From != nil && opt.To != nil && *opt.To < *opt.From {
		return opt, badParameter("to", "it is before from")
	}
	opt.Cursor = query.Get("cursor")
	if query.Has("cursor") && opt.Cursor == "" {
		return opt, badParameter("cursor", "it is empty, expected the cursor of a Link header")
	}
	if text := query.Get("at"); query.Has("at") {
		if opt.Offset, err = strconv.Atoi(text); err != nil || opt.Offset < 0 {
			return opt, badParameter("at", "%q, expected the number of objects to skip, 0 or more", clip(text))
		}
		if query.Has("cursor") {
			return opt, badParameter("at", "the parameter cursor is set too, expected one of them")
		}
	}
	return opt, nil
}

// timeParameter reads a time: Unix nanoseconds, or RFC 3339.
func timeParameter(query url.Values, name string) (*int64, error) {
	if !query.Has(name) {
		return nil, nil
	}
	text := query.Get(name)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return &n, nil
	}
	// An unescaped plus sign has become a space.
	t, err := time.Parse(time.RFC3339Nano, strings.ReplaceAll(text, " ", "+"))
	if err != nil {
		return nil, badParameter(name, "%q, expected Unix nanoseconds, or a time such as 2026-01-31T12:00:00Z", clip(text))
	}
	n := t.UnixNano()
	return &n, nil
}
