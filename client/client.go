// Package client makes the calls of a store on one that a server has.
//
//	store, err := client.New("http://127.0.0.1:8800", client.Options{Token: token})
//	if err != nil {
//		return err
//	}
//	place, err := store.Get(ctx, "places/lisbon")
//	_, err = store.Set(ctx, "places/lisbon", data, storage.SetOptions{IfRevision: place.Revision})
//
// Its errors are those of package storage as far as these say the same: errors.Is(err, storage.ErrNotFound), a
// *storage.ConflictError. Each is an *Error too, as the server sent it.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Options of a client. The zero value sends no token, and each request once.
type Options struct {
	// Token is sent with each request; empty for none.
	Token string
	// HTTP sends the requests; http.DefaultClient when nil. One with a Timeout ends subscriptions too.
	HTTP *http.Client
	// Retries is how often a request is sent again that no answer came to, or the answer that the server is busy. Writes have an
	// Idempotency-Key then, so that none is made twice. The server's store needs atomic batches for that.
	Retries int
}

// Client is a store that a server has. All methods may be called from any number of goroutines. A context ends the call
// that it is given to; whether a write was made is not known then.
type Client struct {
	base string
	opt  Options
}

// New returns a client of the server at an address such as http://127.0.0.1:8800. It sends nothing.
func New(address string, opt Options) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("client: the address %q: expected one such as http://127.0.0.1:8800", address)
	}
	if opt.HTTP == nil {
		opt.HTTP = http.DefaultClient
	}
	return &Client{base: u.Scheme + "://" + u.Host, opt: opt}, nil
}

// Error is what the server answered in place of what was asked for.
type Error struct {
	// Kind is the kind of the problem, such as "not-found"; docs/problems.md has them. Empty for an answer that is no problem.
	Kind string
	// Status is the status code.
	Status int
	// Detail says in one line what is wrong.
	Detail string
	// RequestID finds the request in the server's log.
	RequestID string
	// Revision is that of the object that is there, where a condition did not hold; 0 for none.
	Revision uint64
}

func (e *Error) Error() string {
	return fmt.Sprintf("the server answers %d %s: %s", e.Status, e.Kind, e.Detail)
}

// sentinels are the errors of a store that kinds of problems stand for.
var sentinels = map[string]error{
	"not-found": storage.ErrNotFound, "invalid-path": storage.ErrInvalidPath, "invalid-json": storage.ErrInvalidStorageData,
	"condition-failed": storage.ErrConflict, "not-supported": storage.ErrBatchUnsupported, "read-only": storage.ErrReadOnly,
	"unavailable": storage.ErrNotActive,
}

// Is makes errors.Is hold for the error of package storage that says the same.
func (e *Error) Is(target error) bool {
	known := sentinels[e.Kind]
	return known != nil && known == target
}

// Get returns the object at a path, or storage.ErrNotFound.
func (c *Client) Get(ctx context.Context, path string) (meta.Object, error) {
	var obj meta.Object
	if err := checkPath(path); err != nil {
		return obj, failed("get", path, err)
	}
	if _, err := c.call(ctx, http.MethodGet, "/"+path, nil, nil, &obj); err != nil {
		return meta.Object{}, failed("get", path, err)
	}
	return obj, nil
}

// Page returns a part of what matches a pattern. Page.Revision is 0: see Subscribe, which begins with the state.
func (c *Client) Page(ctx context.Context, pattern string, opt storage.ListOptions) (storage.Page, error) {
	query := url.Values{"order": {"asc"}}
	if opt.Descending {
		query.Set("order", "desc")
	}
	limit := opt.Limit
	if limit == 0 {
		limit = 100
	}
	query.Set("limit", strconv.Itoa(limit))
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
	var page storage.Page
	if !key.HasGlob(pattern) {
		return page, failed("page", pattern, storage.ErrInvalidPattern)
	}
	if err := key.Check(pattern); err != nil {
		return page, failed("page", pattern, fmt.Errorf("%w: %w", storage.ErrInvalidPath, err))
	}
	header, err := c.call(ctx, http.MethodGet, "/"+pattern+"?"+query.Encode(), nil, nil, &page.Objects)
	if err != nil {
		return storage.Page{}, failed("page", pattern, err)
	}
	if target, ok := strings.CutPrefix(header.Get("Link"), "<"); ok {
		next, err := url.Parse(strings.TrimSuffix(target, `>; rel="next"`))
		if err != nil {
			return storage.Page{}, failed("page", pattern, fmt.Errorf("the next page: %w", err))
		}
		page.Next = next.Query().Get("cursor")
	}
	return page, nil
}

// Set stores data at a path and returns the object as it was stored. Of the options, Times are not for clients:
// storage.ErrInvalidOptions.
func (c *Client) Set(ctx context.Context, path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
	var batch Batch
	batch.Set(path, data, opt)
	return c.one(ctx, "set", path, &batch)
}

// Push stores data under a new index in place of the pattern's '*', and returns the object.
func (c *Client) Push(ctx context.Context, pattern string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
	var batch Batch
	batch.Push(pattern, data, opt)
	return c.one(ctx, "push", pattern, &batch)
}

// Del removes the object at a path, or, atomically, all that match a pattern, which takes no condition.
func (c *Client) Del(ctx context.Context, path string, opt storage.DelOptions) error {
	if key.HasGlob(path) {
		err := key.Check(path)
		if err != nil {
			err = fmt.Errorf("%w: %w", storage.ErrInvalidPath, err)
		} else if opt.IfRevision != 0 {
			err = storage.ErrGlobNotAllowed
		} else {
			_, err = c.call(ctx, http.MethodDelete, "/"+path, nil, nil, nil)
		}
		return failed("del", path, err)
	}
	var batch Batch
	batch.Del(path, opt)
	_, err := c.one(ctx, "del", path, &batch)
	return err
}

func (c *Client) one(ctx context.Context, operation, path string, batch *Batch) (meta.Object, error) {
	objects, err := c.commit(ctx, batch)
	if err != nil {
		return meta.Object{}, failed(operation, path, err)
	}
	return objects[0], nil
}

// failed says what was asked for; nil stays nil.
func failed(operation, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("client: %s %.80q: %w", operation, path, err)
}

func checkPath(path string) error {
	if err := key.Check(path); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrInvalidPath, err)
	}
	if key.HasGlob(path) {
		return storage.ErrGlobNotAllowed
	}
	return nil
}

const (
	fullType    = "application/vnd.oolith+json"
	problemType = "application/problem+json"
	// maxProblem is how much of an error's body is read.
	maxProblem = 1 << 20
)

// call sends a request, again where that is asked for and of use, and reads the answer into a value, unless that is nil.
func (c *Client) call(ctx context.Context, method, target string, body []byte, header http.Header, into any) (http.Header, error) {
	for attempt := 0; ; attempt++ {
		answered, err := c.send(ctx, method, target, body, header, into)
		wait := time.Duration(0)
		if err == nil || attempt >= c.opt.Retries || ctx.Err() != nil {
			return answered, err
		}
		if refused, ok := errors.AsType[*Error](err); ok {
			if refused.Status != http.StatusServiceUnavailable && refused.Status != http.StatusTooManyRequests || refused.Kind == "read-only" {
				return answered, err
			}
			if seconds, err := strconv.Atoi(answered.Get("Retry-After")); err == nil {
				wait = time.Duration(seconds) * time.Second
			}
		}
		select {
		case <-time.After(max(wait, min(100*time.Millisecond<<min(attempt, 6), 5*time.Second))):
		case <-ctx.Done():
			return answered, errors.Join(err, ctx.Err())
		}
	}
}

// request makes a request.
func (c *Client) request(ctx context.Context, method, target string, body []byte, header http.Header) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", fullType+", "+problemType)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if c.opt.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.opt.Token)
	}
	return req, nil
}

func (c *Client) send(ctx context.Context, method, target string, body []byte, header http.Header, into any) (_ http.Header, err error) {
	req, err := c.request(ctx, method, target, body, header)
	if err != nil {
		return nil, err
	}
	resp, err := c.opt.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode >= 300 {
		return resp.Header, readError(resp)
	}
	if into == nil {
		return resp.Header, nil
	}
	data, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return resp.Header, fmt.Errorf("the answer: %w", err)
	}
	return resp.Header, nil
}

// readError makes an error of an answer.
func readError(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return fmt.Errorf("the answer %s: %w", resp.Status, err)
	}
	e := &Error{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id"), Detail: strings.TrimSpace(string(body[:min(len(body), 200)]))}
	var problem struct {
		Type, Detail string
		Revision     uint64
	}
	if resp.Header.Get("Content-Type") == problemType && json.Unmarshal(body, &problem) == nil {
		e.Kind = problem.Type[strings.LastIndexByte(problem.Type, '#')+1:]
		e.Detail, e.Revision = problem.Detail, problem.Revision
	}
	return e
}

// newKey makes an idempotency key.
func newKey() string { return rand.Text() }
