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

// A request with an Idempotency-Key is made once, however often it is sent: the record of its outcome is stored in the
// same commit as what it changes. A failed request changes nothing and leaves no record: sent again, it is
// tried again.

const (
	// outcomesDir is the directory of the records; see reserved.
	outcomesDir = reserved + "/http/idempotency/v1/outcome"
	// outcomesKept is how long a record lives.
	outcomesKept = 24 * time.Hour
	// maxIdempotencyKey is how many bytes a key may have.
	maxIdempotencyKey = 255
)

// retry is a request that may have been made before.
type retry struct {
	path string // of the record
	// fingerprint tells the request from another one with the same key.
	fingerprint string
}

// record is what is kept of a request that was made. The changes have the revisions that follow the record's.
type record struct {
	Fingerprint string    `json:"fingerprint"`
	Outcomes    []outcome `json:"outcomes"`
}

// idempotency reads the key of a request; nil without one.
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

// asked is what a request asks for beside its body.
func (c *call) asked() [][]byte {
	parts := [][]byte{[]byte(c.r.Method), []byte(c.r.URL.EscapedPath()), []byte(c.mediaType())}
	for _, name := range []string{"If-Match", "If-None-Match", "Oolith-Ttl"} {
		parts = append(parts, []byte(strings.Join(c.r.Header.Values(name), ",")))
	}
	return parts
}

// digest is a hash of parts, each with its length, so that no two lists of parts have one by their joints.
func digest(parts ...[]byte) string {
	hash := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(hash, "%d:", len(part)) // it never fails
		hash.Write(part)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// record is what is to be stored of a request: the outcomes of its changes.
func (r *retry) record(changes []change) (json.RawMessage, error) {
	made := record{Fingerprint: r.fingerprint, Outcomes: make([]outcome, len(changes))}
	for i, ch := range changes {
		made.Outcomes[i] = outcome{Status: ch.status, Path: ch.path}
	}
	return json.Marshal(made)
}

// earlier returns the outcomes of a request that was made before; nil when it was not.
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

// Reserved is the pattern of what the server keeps in the store: the outcomes of requests with an Idempotency-Key. It is
// for Options.NoBroadcastKeys of the store: then no watcher and no subscription hears of them.
const Reserved = outcomesDir + "/*"
