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
//
// Client.Store has the same calls without contexts: what is made for a *storage.Layered, package collection and package
// patch, say, works on it.
package client

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// Options of a client. The zero value sends no token, and each request once.
type Options struct {
	// Token is sent with each request; empty for none.
	Token string
	// HTTP sends the requests; http.DefaultClient when nil. One with a Timeout ends subscriptions too.
	HTTP *http.Client
	// Retries is how often a request is sent again that no whole answer came to, or the answer that the server is busy.
	// Writes have an Idempotency-Key then, so that none is made twice; the server's store needs atomic batches for
	// that. The delete of all that a pattern matches has none, and is sent again only where it cannot have been
	// made. Between two attempts is a random time, which grows from 0.1 to 5 seconds, or what the server asks for.
	Retries int
	// Timeout is how long one attempt may take, its answer included: 60 seconds when zero, and any time when negative.
	// A subscription is no attempt.
	Timeout time.Duration
	// Silence is how long a subscription waits for a byte before it connects anew: 60 seconds when zero. The server
	// sends one every 20 seconds.
	Silence time.Duration
}

// Client is a store that a server has. All methods may be called from any number of goroutines. A context ends the call
// that it is given to; whether a write was made is not known then.
type Client struct {
	base string
	opt  Options
	// identity is that of the server's store, as the last answer had it; nil before one.
	identity atomic.Pointer[string]
}

// New returns a client of the server at an address such as http://127.0.0.1:8800. It sends nothing.
func New(address string, opt Options) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("client: address %q, expected one such as http://127.0.0.1:8800", address)
	}
	if opt.HTTP == nil {
		opt.HTTP = http.DefaultClient
	}
	if opt.Timeout == 0 {
		opt.Timeout = time.Minute
	}
	if opt.Silence <= 0 {
		opt.Silence = time.Minute
	}
	return &Client{base: u.Scheme + "://" + u.Host, opt: opt}, nil
}

// Address is that of the server.
func (c *Client) Address() string { return c.base }

// failed says what was asked for; nil stays nil.
func failed(operation, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("client: %s %.80q: %w", operation, path, err)
}

func checkPath(path string) error {
	if err := key.Check(path); err != nil {
		return fmt.Errorf("%w, %w", storage.ErrInvalidPath, err)
	}
	if key.HasGlob(path) {
		return storage.ErrGlobNotAllowed
	}
	return nil
}

func checkPattern(pattern string) error {
	if !key.HasGlob(pattern) {
		return storage.ErrInvalidPattern
	}
	if err := key.Check(pattern); err != nil {
		return fmt.Errorf("%w, %w", storage.ErrInvalidPath, err)
	}
	return nil
}
