package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Get returns the object at a path, or storage.ErrNotFound.
func (c *Client) Get(ctx context.Context, path string) (meta.Object, error) {
	var obj meta.Object
	if err := checkPath(path); err != nil {
		return obj, failed("get", path, err)
	}
	if _, err := c.call(ctx, request{method: http.MethodGet, target: "/" + path}, &obj); err != nil {
		return meta.Object{}, failed("get", path, err)
	}
	return obj, nil
}

// defaultPage is the limit of a page without one, as in package storage.
const defaultPage = 100

// Page returns a part of the objects that match a pattern, as storage.Layered.Page does. It takes several requests if
// the server's limits are below the page's.
func (c *Client) Page(ctx context.Context, pattern string, opt storage.ListOptions) (storage.Page, error) {
	if opt.Limit == 0 {
		opt.Limit = defaultPage
	}
	page := storage.Page{}
	if opt.Limit < 0 {
		return page, failed("page", pattern, storage.ErrInvalidLimit)
	}
	missing, first := opt.Limit, true
	for part, err := range c.pages(ctx, pattern, opt, func() int { return missing }) {
		if err != nil {
			return storage.Page{}, failed("page", pattern, err)
		}
		if first {
			page, first = part, false
		} else {
			page.Objects, page.Next = append(page.Objects, part.Objects...), part.Next
		}
		if missing = opt.Limit - len(page.Objects); missing == 0 {
			break
		}
	}
	return page, nil
}

// Iterate returns an iterator over the objects that match a pattern, page by page while the loop runs. An object that
// exists throughout is yielded exactly once, as in storage.Layered.Iterate. An error is yielded last and ends the
// loop.
func (c *Client) Iterate(ctx context.Context, pattern string, opt storage.ListOptions) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		for page, err := range c.pages(ctx, pattern, opt, func() int { return largest }) {
			if err != nil {
				yield(meta.Object{}, failed("iterate", pattern, err))
				return
			}
			for _, obj := range page.Objects {
				if !yield(obj, nil) {
					return
				}
			}
		}
	}
}

// largest is the maximum number of objects in a request.
const largest = 1000

// pages returns the pages of a list. Each has as many objects as are then wanted, or as the server returns at once:
// it limits a page by count and by size.
func (c *Client) pages(ctx context.Context, pattern string, opt storage.ListOptions, wanted func() int) iter.Seq2[storage.Page, error] {
	return func(yield func(storage.Page, error) bool) {
		if err := checkPattern(pattern); err != nil {
			yield(storage.Page{}, err)
			return
		}
		for most := largest; ; {
			limit := min(most, wanted())
			page, err := c.page(ctx, pattern, opt, limit)
			if refused, ok := errors.AsType[*Error](err); ok && limit > 1 && (refused.Kind == "list-too-large" || refused.Parameter == "limit") {
				most = limit / 2
				continue
			}
			if !yield(page, err) || err != nil || page.Next == "" {
				return
			}
			opt.Cursor, opt.Offset = page.Next, 0
		}
	}
}

// page requests one page.
func (c *Client) page(ctx context.Context, pattern string, opt storage.ListOptions, limit int) (page storage.Page, err error) {
	query := url.Values{"order": {"asc"}, "limit": {strconv.Itoa(limit)}}
	if opt.Descending {
		query.Set("order", "desc")
	}
	for name, bound := range map[string]*int64{"from": opt.From, "to": opt.To} {
		if bound != nil {
			query.Set(name, strconv.FormatInt(*bound, 10))
		}
	}
	if opt.Cursor != "" {
		query.Set("cursor", opt.Cursor)
	}
	if opt.Offset != 0 {
		query.Set("at", strconv.Itoa(opt.Offset))
	}
	header, err := c.call(ctx, request{method: http.MethodGet, target: "/" + pattern + "?" + query.Encode()}, &page.Objects)
	if err != nil {
		return storage.Page{}, err
	}
	_, page.Revision, _ = tagParts(header.Get("Etag"))
	if target, ok := strings.CutPrefix(header.Get("Link"), "<"); ok {
		next, err := url.Parse(strings.TrimSuffix(target, `>; rel="next"`))
		if err != nil {
			return storage.Page{}, fmt.Errorf("the next page: %w", err)
		}
		page.Next = next.Query().Get("cursor")
	}
	return page, nil
}

// Count returns the number of objects that match a pattern.
func (c *Client) Count(ctx context.Context, pattern string) (int, error) {
	var answer struct{ Count int }
	err := checkPattern(pattern)
	if err == nil {
		_, err = c.call(ctx, request{method: http.MethodGet, target: "/~/count?" + url.Values{"pattern": {pattern}}.Encode()}, &answer)
	}
	return answer.Count, failed("count", pattern, err)
}

// Directories returns the directories directly below a path, "" for the top, as storage.Layered.Directories does.
func (c *Client) Directories(ctx context.Context, path string) ([]storage.Directory, error) {
	all := []storage.Directory{}
	if path != "" {
		if err := checkPath(path); err != nil {
			return nil, failed("directories", path, err)
		}
	}
	query := url.Values{"path": {path}, "limit": {strconv.Itoa(largest)}}
	for {
		var page storage.DirectoryPage
		if _, err := c.call(ctx, request{method: http.MethodGet, target: "/~/directories?" + query.Encode()}, &page); err != nil {
			return nil, failed("directories", path, err)
		}
		all = append(all, page.Directories...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

// Stats are metrics of a server and its store.
type Stats struct {
	// Store is the identity of the store in hexadecimal digits.
	Store string `json:"store"`
	// Revision is the revision of the latest change.
	Revision uint64 `json:"revision"`
	// Objects, Directories and DataBytes are the size of the store; Expiring is the number of objects that expire.
	Objects     int64 `json:"objects"`
	Directories int64 `json:"directories"`
	DataBytes   int64 `json:"dataBytes"`
	Expiring    int64 `json:"expiring"`
	// Commits is the number of commits since the server started.
	Commits uint64 `json:"commits"`
	// Streams and Connections are the open ones.
	Streams     int64 `json:"streams"`
	Connections int64 `json:"connections"`
	// Requests is the number of answered requests since the server started.
	Requests int64 `json:"requests"`
	// UptimeSeconds is the time since the server started.
	UptimeSeconds int64 `json:"uptimeSeconds"`
	// WritesStopped reports whether the store rejects writes after a failed commit.
	WritesStopped bool `json:"writesStopped"`
	// CommitP99Nanos is the 99th percentile of the commit duration.
	CommitP99Nanos int64 `json:"commitP99Nanos"`
	// StalenessNanos is how long the node may have missed commits of other nodes. Unavailable reports whether it
	// cannot reach the shared engine. Both are zero if the store is not shared.
	StalenessNanos int64 `json:"stalenessNanos"`
	Unavailable    bool  `json:"unavailable"`
}

// Stats returns the server's metrics. A token needs the verb admin.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	var stats Stats
	_, err := c.call(ctx, request{method: http.MethodGet, target: "/~/stats"}, &stats)
	return stats, failed("stats", c.base, err)
}
