package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// A request with an Idempotency-Key is made exactly once, however often it is sent: the record of its outcome is
// stored in the same commit as its changes. A failed request changes nothing and leaves no record, so it can be
// repeated.

const (
	// outcomesDir is the directory of the records; see reserved.
	outcomesDir = reserved + "/http/idempotency/v1/outcome"
	// outcomesKept is the time to live of a record.
	outcomesKept = 24 * time.Hour
	// maxIdempotencyKey is the maximum length of a key in bytes.
	maxIdempotencyKey = 255
)

// retry is a request that may have been made before.
type retry struct {
	path string // of the record
	// fingerprint distinguishes the request from another one with the same key.
	fingerprint string
}

// record is the stored outcome of a request. The changes have the revisions after the record's own.
type record struct {
	Fingerprint string    `json:"fingerprint"`
	Outcomes    []outcome `json:"outcomes"`
}

// idempotency returns the retry of a request with a key; nil without one.
func (c *call) idempotency(body []byte) (*retry, error) {
	values := c.r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return nil, nil
	}
	key := values[0]
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1] // a string of RFC 8941
	}
	printable := strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) < 0
	if len(values) > 1 || key == "" || len(key) > maxIdempotencyKey || !printable {
		return nil, problem(InvalidHeader, "Idempotency-Key: expected 1 to %d printable ASCII characters", maxIdempotencyKey).
			with("header", "Idempotency-Key")
	}
	return &retry{
		path:        outcomesDir + "/" + digest([]byte(nameOf(c.identity)), []byte(key)),
		fingerprint: digest(append(c.asked(), body)...),
	}, nil
}

// asked returns the parts of a request other than its body.
func (c *call) asked() [][]byte {
	parts := [][]byte{[]byte(c.r.Method), []byte(c.r.URL.EscapedPath()), []byte(c.mediaType())}
	for _, name := range []string{"If-Match", "If-None-Match", "Oolith-Ttl"} {
		parts = append(parts, []byte(strings.Join(c.r.Header.Values(name), ",")))
	}
	return parts
}

// digest hashes parts with their lengths, so different lists of parts have different hashes.
func digest(parts ...[]byte) string {
	hash := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(hash, "%d:", len(part)) // cannot fail
		hash.Write(part)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// record returns the record of a request with the outcomes of its changes.
func (r *retry) record(changes []change) (json.RawMessage, error) {
	made := record{Fingerprint: r.fingerprint, Outcomes: make([]outcome, len(changes))}
	for i, ch := range changes {
		made.Outcomes[i] = outcome{Status: ch.status, Path: ch.path}
	}
	return json.Marshal(made)
}

// earlier returns the outcomes of an earlier identical request; nil if there was none.
func (c *call) earlier(retried *retry, count int) ([]outcome, error) {
	obj, err := c.s.store.Get(retried.path)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var made record
	if err := json.Unmarshal(obj.Data, &made); err != nil {
		return nil, fmt.Errorf("%q: %w", retried.path, err)
	}
	if made.Fingerprint != retried.fingerprint || len(made.Outcomes) != count {
		return nil, problem(KeyReused, "the Idempotency-Key was used for another request: make a new key for each request, and send it again with a retry only")
	}
	for i := range made.Outcomes {
		made.Outcomes[i].revision = obj.Revision + 1 + uint64(i)
	}
	return made.Outcomes, nil
}

// Reserved is the pattern of the server's own objects in the store: the outcomes of requests with an Idempotency-Key.
// Add it to the store's Options.NoBroadcastKeys, so that watchers and subscriptions do not receive them.
const Reserved = outcomesDir + "/*"
