package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Batch gathers changes for Commit. The zero value is empty and ready. It must not be used by two goroutines at once.
type Batch struct {
	changes []change
	err     error // of the first change that cannot be
}

// change is a change as the server reads it.
type change struct {
	Operation   string          `json:"op"`
	Path        string          `json:"path"`
	Data        json.RawMessage `json:"data,omitempty"`
	IfMatch     string          `json:"ifMatch,omitempty"`
	IfNoneMatch string          `json:"ifNoneMatch,omitempty"`
	TTL         string          `json:"ttl,omitempty"`

	revision uint64 // that the object must have
}

// Set adds a Set.
func (b *Batch) Set(path string, data json.RawMessage, opt storage.SetOptions) {
	err := checkPath(path)
	if err == nil {
		err = checkOptions(opt)
	}
	ch := change{Operation: "set", Path: path, Data: data, TTL: ttlOf(opt), revision: opt.IfRevision}
	if opt.IfAbsent {
		ch.IfNoneMatch = "*"
	}
	b.add(ch, err)
}

// Push adds a Push.
func (b *Batch) Push(pattern string, data json.RawMessage, opt storage.SetOptions) {
	err := checkOptions(opt)
	if err == nil && (opt.IfRevision != 0 || opt.IfAbsent) {
		err = storage.ErrInvalidOptions
	}
	if err == nil && !key.HasGlob(pattern) {
		err = storage.ErrGlobRequired
	}
	b.add(change{Operation: "push", Path: pattern, Data: data, TTL: ttlOf(opt)}, err)
}

// Del adds the delete of a key.
func (b *Batch) Del(path string, opt storage.DelOptions) {
	b.add(change{Operation: "delete", Path: path, revision: opt.IfRevision}, checkPath(path))
}

func (b *Batch) add(ch change, err error) {
	if err == nil && ch.Operation != "delete" && !json.Valid(ch.Data) {
		err = fmt.Errorf("%w: expected one JSON value", storage.ErrInvalidStorageData)
	}
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("change %d of the batch: %.80q: %w", len(b.changes), ch.Path, err)
	}
	b.changes = append(b.changes, ch)
}

// checkOptions refuses what a client cannot ask for.
func checkOptions(opt storage.SetOptions) error {
	switch {
	case opt.Times != nil, opt.KeepTTL, opt.Expires != 0, opt.Lease != nil:
		return fmt.Errorf("%w: a client has IfRevision, IfAbsent and TTL", storage.ErrInvalidOptions)
	case opt.IfAbsent && opt.IfRevision != 0:
		return fmt.Errorf("%w: both IfRevision and IfAbsent, expected one of them", storage.ErrInvalidOptions)
	case opt.TTL < 0:
		return storage.ErrInvalidTTL
	}
	return nil
}

func ttlOf(opt storage.SetOptions) string {
	if opt.TTL <= 0 {
		return ""
	}
	return max(opt.TTL, time.Nanosecond).String()
}

// Commit makes all changes of a batch, or none. It returns the objects in the order of the batch, with Path, Index, Data and
// Revision; of a delete, Path and Revision.
func (c *Client) Commit(ctx context.Context, batch *Batch) ([]meta.Object, error) {
	objects, err := c.commit(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("client: commit: %w", err)
	}
	return objects, nil
}

func (c *Client) commit(ctx context.Context, batch *Batch) ([]meta.Object, error) {
	switch {
	case len(batch.changes) == 0:
		return nil, nil
	case batch.err != nil:
		return nil, batch.err
	}
	changes := append([]change(nil), batch.changes...)
	for i := range changes {
		if changes[i].revision == 0 {
			continue
		}
		tag, err := c.tag(ctx, changes[i].Path, changes[i].revision)
		if err != nil {
			return nil, err
		}
		changes[i].IfMatch = tag
	}
	body, err := json.Marshal(map[string]any{"changes": changes})
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if c.opt.Retries > 0 {
		header.Set("Idempotency-Key", newKey())
	}
	var made struct {
		Results []struct {
			Path, Index string
			Revision    uint64
		}
	}
	if _, err := c.call(ctx, http.MethodPost, "/~/batch", body, header, &made); err != nil {
		return nil, err
	}
	if len(made.Results) != len(changes) {
		return nil, fmt.Errorf("the server answers %d results for %d changes", len(made.Results), len(changes))
	}
	objects := make([]meta.Object, len(changes))
	for i, result := range made.Results {
		objects[i] = meta.Object{Path: result.Path, Index: result.Index, Revision: result.Revision, Data: changes[i].Data}
	}
	return objects, nil
}

// tag is the entity tag of an object if it has a revision, and else the error of a condition that does not hold. The server's
// tags have its store's identity, which a look at the object tells.
func (c *Client) tag(ctx context.Context, path string, revision uint64) (string, error) {
	header, err := c.call(ctx, http.MethodHead, "/"+path, nil, nil, nil)
	if missing, ok := errors.AsType[*Error](err); ok && missing.Status == http.StatusNotFound {
		return "", &storage.ConflictError{Path: path, Expected: revision}
	}
	if err != nil {
		return "", err
	}
	store, _, found := strings.Cut(strings.Trim(header.Get("Etag"), `"`), "-")
	if !found {
		return "", fmt.Errorf("the server's entity tag is %q", header.Get("Etag"))
	}
	return fmt.Sprintf(`"%s-%d"`, store, revision), nil
}
