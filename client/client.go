// Package client accesses a store over the network.
//
//	store, err := client.New("http://127.0.0.1:8800", client.Options{Token: token})
//	if err != nil {
//		return err
//	}
//	place, err := store.Get(ctx, "places/lisbon")
//	_, err = store.Set(ctx, "places/lisbon", data, storage.SetOptions{IfRevision: place.Revision})
//
// Errors match those of package storage where they have the same meaning: errors.Is(err, storage.ErrNotFound), or a
// *storage.ConflictError. An error that the server sent is also an *Error.
//
// Client.Store has the same calls without contexts. Code for a *storage.Layered, such as packages collection and
// patch, works with it.
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

// Options configure a client. The zero value sends no token and sends each request once.
type Options struct {
	// Token is sent with each request; empty for none.
	Token string
	// HTTP sends the requests; http.DefaultClient if nil. A Timeout in it also ends subscriptions.
	HTTP *http.Client
	// Retries is how often a request is retried if there was no complete answer, or if the server answered that it is
	// busy. Writes then carry an Idempotency-Key, so each is made exactly once; this requires a store with atomic
	// batches on the server. A delete of a pattern has no key and is retried only if it cannot have been made. The
	// wait between attempts is random and grows from 0.1 to 5 seconds, unless the server asks for a longer one.
	Retries int
	// Timeout limits one attempt, including its answer: 60 seconds when zero, no limit when negative. It does not
	// apply to subscriptions.
	Timeout time.Duration
	// Silence is how long a subscription waits for a byte before it reconnects: 60 seconds when zero. The server
	// sends one every 20 seconds.
	Silence time.Duration
}

// Client is a store behind a server. All methods may be called concurrently. When a context ends, its call ends;
// whether a write was made is then unknown.
type Client struct {
	base string
	opt  Options
	// identity is the identity of the server's store from the last answer; nil before the first.
	identity atomic.Pointer[string]
}

// New returns a client for the server at an address such as http://127.0.0.1:8800. It sends nothing.
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

// Address returns the address of the server.
func (c *Client) Address() string { return c.base }

// failed adds the operation to an error; nil stays nil.
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
