package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Set stores data at a path and returns the stored object. The option Lease fails with storage.ErrInvalidOptions.
// Times need a token with the verb admin.
func (c *Client) Set(ctx context.Context, path string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
	var batch storage.Batch
	batch.SetWith(path, data, opt)
	return c.one(ctx, "set", path, &batch)
}

// Push stores data under a new index, which replaces the '*' of the pattern, and returns the object.
func (c *Client) Push(ctx context.Context, pattern string, data json.RawMessage, opt storage.SetOptions) (meta.Object, error) {
	var batch storage.Batch
	batch.PushWith(pattern, data, opt)
	return c.one(ctx, "push", pattern, &batch)
}

// Touch sets the TTL or Expires of the object at a path; without either it removes the object's expiry. Data and
// times are kept. The returned object has no data.
func (c *Client) Touch(ctx context.Context, path string, opt storage.SetOptions) (meta.Object, error) {
	var batch storage.Batch
	batch.TouchWith(path, opt)
	return c.one(ctx, "touch", path, &batch)
}

// Del deletes the object at a path, or atomically all objects that match a pattern. A pattern takes no condition.
func (c *Client) Del(ctx context.Context, path string, opt storage.DelOptions) error {
	if !key.HasGlob(path) {
		var batch storage.Batch
		batch.DelWith(path, opt)
		_, err := c.one(ctx, "del", path, &batch)
		return err
	}
	err := checkPattern(path)
	switch {
	case err != nil:
	case opt != storage.DelOptions{}:
		err = storage.ErrGlobNotAllowed
	default:
		_, err = c.call(ctx, request{method: http.MethodDelete, target: "/" + path, once: true}, nil)
	}
	return failed("del", path, err)
}

// Update changes the object at a path with a function, as storage.Layered.Update does. It calls the function again
// with the newer object if somebody else changed the object in the meantime. If there is no object, the function
// receives an Object with only Path and Index. A time to live is kept. An error of the function ends the update and
// is returned wrapped.
func (c *Client) Update(ctx context.Context, path string, change func(old meta.Object) (json.RawMessage, error)) (meta.Object, error) {
	if change == nil {
		return meta.Object{}, failed("update", path, fmt.Errorf("%w, the function is nil", storage.ErrInvalidOptions))
	}
	for {
		old, err := c.Get(ctx, path)
		opt := storage.SetOptions{IfRevision: old.Revision, KeepTTL: true}
		if errors.Is(err, storage.ErrNotFound) {
			old, err = meta.Object{Path: path, Index: key.LastIndex(path)}, nil
			opt = storage.SetOptions{IfAbsent: true}
		}
		if err != nil {
			return meta.Object{}, err
		}
		data, err := change(old)
		if err != nil {
			return meta.Object{}, failed("update", path, err)
		}
		stored, err := c.Set(ctx, path, data, opt)
		if !errors.Is(err, storage.ErrConflict) {
			return stored, err
		}
	}
}

func (c *Client) one(ctx context.Context, operation, path string, batch *storage.Batch) (meta.Object, error) {
	objects, err := c.commit(ctx, batch)
	if err != nil {
		return meta.Object{}, failed(operation, path, err)
	}
	return objects[0], nil
}

// Commit makes all changes of a batch or none. It returns the stored objects in the order of the batch, with the data
// given; for a delete only Path and Revision, and for a touch no data. If an answer was lost and the objects were
// written again before the retry, their times are missing.
func (c *Client) Commit(ctx context.Context, batch *storage.Batch) ([]meta.Object, error) {
	objects, err := c.commit(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("client: commit: %w", err)
	}
	return objects, nil
}

// change is a change in the server's format.
type change struct {
	Operation   string          `json:"op"`
	Path        string          `json:"path"`
	Data        json.RawMessage `json:"data,omitempty"`
	IfMatch     string          `json:"ifMatch,omitempty"`
	IfNoneMatch string          `json:"ifNoneMatch,omitempty"`
	TTL         string          `json:"ttl,omitempty"`
	KeepTTL     bool            `json:"keepTTL,omitempty"`
	Expires     int64           `json:"expires,omitempty"`
	Created     *int64          `json:"created,omitempty"`
	Updated     *int64          `json:"updated,omitempty"`
}

func (c *Client) commit(ctx context.Context, batch *storage.Batch) ([]meta.Object, error) {
	gathered, err := batch.Changes()
	if err != nil || len(gathered) == 0 {
		return nil, err
	}
	changes, seen := make([]change, len(gathered)), make(map[string]bool, len(gathered))
	for i, ch := range gathered {
		if seen[ch.Path] && ch.Operation != "push" {
			return nil, fmt.Errorf("change %d: %w, %q", i, storage.ErrDuplicateKey, ch.Path)
		}
		seen[ch.Path] = ch.Operation != "push"
		if changes[i], err = c.change(ctx, ch); err != nil {
			return nil, fmt.Errorf("change %d of the batch: %w", i, err)
		}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // keep the data byte for byte
	if err := encoder.Encode(map[string]any{"changes": changes}); err != nil {
		return nil, err
	}
	header := http.Header{}
	if c.opt.Retries > 0 {
		header.Set("Idempotency-Key", rand.Text())
	}
	var made struct {
		Results []struct {
			Path, Index               string
			Revision                  uint64
			Created, Updated, Expires int64
			Etag                      string
		}
	}
	if _, err := c.call(ctx, request{method: http.MethodPost, target: "/~/batch", body: body.Bytes(), header: header}, &made); err != nil {
		if refused, ok := errors.AsType[*Error](err); ok && refused.Kind == "condition-failed" && refused.Entry < len(gathered) {
			at := gathered[refused.Entry]
			err = &conflict{storage.ConflictError{Path: at.Path, Expected: at.Options.IfRevision, Current: refused.Revision}, refused}
		}
		return nil, err
	}
	if len(made.Results) != len(changes) {
		return nil, fmt.Errorf("the server returned %d results for %d changes", len(made.Results), len(changes))
	}
	objects := make([]meta.Object, len(changes))
	for i, result := range made.Results {
		c.learn(http.Header{"Etag": {result.Etag}})
		objects[i] = meta.Object{Path: result.Path, Revision: result.Revision}
		if gathered[i].Operation != "del" {
			objects[i] = meta.Object{
				Created: result.Created, Updated: result.Updated, Expires: result.Expires,
				Index: result.Index, Path: result.Path, Revision: result.Revision, Data: gathered[i].Data,
			}
		}
	}
	return objects, nil
}

// change converts a change into the server's format.
func (c *Client) change(ctx context.Context, gathered storage.BatchChange) (change, error) {
	opt := gathered.Options
	ch := change{Operation: gathered.Operation, Path: gathered.Path, Data: gathered.Data, KeepTTL: opt.KeepTTL, Expires: opt.Expires}
	if ch.Operation == "del" {
		ch.Operation = "delete"
	}
	if opt.Lease != nil {
		return ch, fmt.Errorf("%q: %w, a lease belongs to a process and has no meaning on a server", ch.Path, storage.ErrInvalidOptions)
	}
	if opt.TTL > 0 {
		ch.TTL = max(opt.TTL, time.Nanosecond).String()
	}
	if opt.Times != nil {
		ch.Created, ch.Updated = &opt.Times.Created, &opt.Times.Updated
	}
	if opt.IfAbsent {
		ch.IfNoneMatch = "*"
	}
	if opt.IfRevision == 0 {
		return ch, nil
	}
	identity, err := c.identify(ctx, ch.Path, opt.IfRevision)
	ch.IfMatch = fmt.Sprintf(`"%s-%d"`, identity, opt.IfRevision)
	return ch, err
}

// identify returns the identity of the server's store for entity tags, which make revisions of other stores
// meaningless. If no answer has contained it yet, a read of the object does, or shows that there is none.
func (c *Client) identify(ctx context.Context, path string, revision uint64) (string, error) {
	if known := c.identity.Load(); known != nil {
		return *known, nil
	}
	header, err := c.call(ctx, request{method: http.MethodHead, target: "/" + path}, nil)
	if missing, ok := errors.AsType[*Error](err); ok && missing.Status == http.StatusNotFound {
		return "", &storage.ConflictError{Path: path, Expected: revision}
	}
	if err != nil {
		return "", err
	}
	identity, _, ok := tagParts(header.Get("Etag"))
	if !ok {
		return "", fmt.Errorf("the server returned the invalid entity tag %q", header.Get("Etag"))
	}
	return identity, nil
}
