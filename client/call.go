package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/oolith-db/oolith/internal/jsontext"
)

// Requests and their retries.

// fullType is the media type of objects with all metadata.
const fullType = "application/vnd.oolith+json"

// request is a request to the server.
type request struct {
	method, target string
	body           []byte
	header         http.Header
	// once means that the request must not be made twice and has no idempotency key.
	once bool
}

// call sends a request, retries it if that is configured and useful, and decodes the answer into a value, unless that
// is nil.
func (c *Client) call(ctx context.Context, r request, into any) (http.Header, error) {
	for attempt := 0; ; attempt++ {
		answered, err := c.send(ctx, r, into)
		if err == nil || attempt >= c.opt.Retries || ctx.Err() != nil || !r.again(err) {
			return answered, err
		}
		wait := backOff(attempt)
		if seconds, parseErr := strconv.Atoi(answered.Get("Retry-After")); parseErr == nil {
			wait = max(wait, time.Duration(seconds)*time.Second+rand.N(time.Second/4))
		}
		if ended := pause(ctx, wait); ended != nil {
			return answered, errors.Join(err, ended)
		}
	}
}

// again reports whether a failed request should be retried.
func (r request) again(err error) bool {
	if refused, ok := errors.AsType[*Error](err); ok {
		return isPassing(refused)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false // the certificate will not change
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return true // the request was not sent
	}
	return !r.once
}

// isPassing reports whether a retry may get another answer.
func isPassing(e *Error) bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return e.Kind != "read-only"
	}
	return false
}

// backOff returns the wait after an attempt, counted from 0: a random part of a doubling time, so clients that lost a
// server do not return all at once.
func backOff(attempt int) time.Duration {
	most := min(100*time.Millisecond<<min(attempt, 6), 5*time.Second)
	return most/2 + rand.N(most/2)
}

// pause waits until the time is over or the context ends. It returns the context's error.
func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newRequest builds an HTTP request.
func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.target, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", fullType+", "+problemType)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if c.opt.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.opt.Token)
	}
	return req, nil
}

// send makes one attempt.
func (c *Client) send(ctx context.Context, r request, into any) (_ http.Header, err error) {
	within, cancel := ctx, context.CancelFunc(func() {})
	if c.opt.Timeout > 0 {
		within, cancel = context.WithTimeout(ctx, c.opt.Timeout)
	}
	defer cancel()
	defer func() {
		if err != nil && within.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("no complete answer within %v", c.opt.Timeout) // the caller's context has not ended
		}
	}()
	req, err := c.newRequest(within, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.opt.HTTP.Do(req)
	if err != nil {
		return nil, c.unanswered(ctx, err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	c.learn(resp.Header)
	if resp.StatusCode >= 300 {
		return resp.Header, readError(resp)
	}
	if into == nil {
		return resp.Header, nil
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.Header, c.unanswered(ctx, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return resp.Header, fmt.Errorf("invalid answer of the server, %w", jsontext.Explain(err))
	}
	return resp.Header, nil
}

// learn stores the identity of the server's store from an answer.
func (c *Client) learn(header http.Header) {
	identity, _, ok := tagParts(header.Get("Etag"))
	if known := c.identity.Load(); ok && (known == nil || *known != identity) {
		c.identity.Store(&identity)
	}
}

// tagParts splits an entity tag "<store>-<revision>".
func tagParts(tag string) (store string, revision uint64, ok bool) {
	store, digits, found := strings.Cut(strings.Trim(tag, `"`), "-")
	revision, err := strconv.ParseUint(digits, 10, 64)
	return store, revision, found && err == nil && store != ""
}
