package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/oolith-db/oolith/internal/jsontext"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/patch"
	"github.com/oolith-db/oolith/storage"
)

// batchRequest is the body of POST /~/batch.
type batchRequest struct {
	Changes []batchChange `json:"changes"`
}

// batchChange is one change of a batch.
type batchChange struct {
	Operation   string          `json:"op"`
	Path        string          `json:"path"`
	Data        json.RawMessage `json:"data"`
	IfMatch     string          `json:"ifMatch"`
	IfNoneMatch string          `json:"ifNoneMatch"`
	TTL         json.RawMessage `json:"ttl"`
	KeepTTL     bool            `json:"keepTTL"`
	Expires     *int64          `json:"expires"`
	Created     *int64          `json:"created"`
	Updated     *int64          `json:"updated"`
}

// commitBatch answers POST /~/batch: all changes or none.
func (c *call) commitBatch() error {
	if c.r.Method != http.MethodPost {
		return allowed("POST", c.r.Method)
	}
	if _, err := c.parameters(); err != nil {
		return err
	}
	if kind := c.mediaType(); kind != "" && !isJSON(kind) {
		return problem(UnsupportedType, "the media type %q is not supported, expected application/json%s", clip(kind), curlHint(kind)).header("Accept", "application/json")
	}
	body, err := c.json()
	if err != nil {
		return err
	}
	c.batch = true
	entries, err := c.readBatch(body)
	if err != nil {
		return err
	}
	outcomes, replayed, err := c.commit(entries, body)
	for i := range entries {
		c.audit(Write, entries[i].path, err)
	}
	if err != nil {
		return err
	}
	if replayed {
		c.w.Header().Set("Idempotent-Replayed", "true")
	}
	answer := []byte(`{"results":[`)
	for i, out := range outcomes {
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = append(answer, `{"status":`...)
		answer = strconv.AppendInt(answer, int64(out.Status), 10)
		answer = append(answer, `,"path":"`...)
		answer = append(answer, out.Path...)
		answer = append(answer, `","index":"`...)
		answer = append(answer, key.LastIndex(out.Path)...)
		answer = append(answer, `","revision":`...)
		answer = strconv.AppendUint(answer, out.revision, 10)
		if entries[i].operation != "delete" {
			answer = append(answer, `,"etag":`...)
			answer = strconv.AppendQuote(answer, c.s.tag(out.revision))
			answer = c.appendTimes(answer, out)
		}
		answer = append(answer, '}')
	}
	c.write(http.StatusOK, "application/json", append(answer, "]}"...))
	return nil
}

// appendTimes appends the times of a stored object. An object stored by an earlier request may have changed since;
// then its times are unknown.
func (c *call) appendTimes(b []byte, out outcome) []byte {
	obj := out.object
	if obj == nil {
		there, err := c.s.store.Get(out.Path)
		if err != nil || there.Revision != out.revision {
			return b
		}
		obj = &there
	}
	b = append(b, `,"created":`...)
	b = strconv.AppendInt(b, obj.Created, 10)
	b = append(b, `,"updated":`...)
	b = strconv.AppendInt(b, obj.Updated, 10)
	if obj.Expires != 0 {
		b = append(b, `,"expires":`...)
		b = strconv.AppendInt(b, obj.Expires, 10)
	}
	return b
}

// readBatch parses and authorizes the changes of a batch.
func (c *call) readBatch(body []byte) ([]entry, error) {
	var request batchRequest
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&request)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more than one JSON value")
		}
	}
	if err != nil {
		return nil, problem(InvalidBatch, `%v; expected {"changes":[{"op":"set","path":"a","data":1}]}`, jsontext.Explain(err))
	}
	if most := c.s.limits.BatchChanges; len(request.Changes) > most {
		return nil, problem(TooLarge, "%d changes, the limit BatchChanges is %d", len(request.Changes), most).with("limit", most)
	}
	if len(request.Changes) == 0 {
		return nil, problem(InvalidBatch, "it has no changes")
	}
	entries := make([]entry, len(request.Changes))
	seen := make(map[string]int, len(entries))
	for i, change := range request.Changes {
		if entries[i], err = c.readEntry(change); err != nil {
			return nil, atEntry(err, i)
		}
		if entries[i].operation == "push" {
			continue
		}
		if first, twice := seen[change.Path]; twice {
			return nil, problem(InvalidBatch, "the changes %d and %d have the same path, %q", first, i, clip(change.Path)).with("entry", i)
		}
		seen[change.Path] = i
	}
	return entries, nil
}

// readEntry parses one change of a batch.
func (c *call) readEntry(change batchChange) (e entry, err error) {
	e = entry{operation: change.Operation, path: change.Path, data: change.Data}
	if err := key.Check(e.path); err != nil {
		return e, invalidPath("%v", err)
	}
	if err := c.requireAllowed(Write, e.path); err != nil {
		return e, err
	}
	switch e.operation {
	case "set", "push":
		if len(e.data) == 0 {
			return e, problem(InvalidBatch, "a %s needs data", e.operation)
		}
	case "merge":
		data := e.data
		e.operation, e.makes = "patch", true
		e.apply = func(old []byte) ([]byte, error) { return patch.MergeJSON(old, data) }
	case "patch":
		data := e.data
		e.apply = func(old []byte) ([]byte, error) { return patch.ApplyJSON(old, data) }
	case "delete", "touch":
		if len(e.data) > 0 {
			return e, problem(InvalidBatch, "a %s takes no data", e.operation)
		}
	default:
		return e, problem(InvalidBatch, "unknown op %q, expected set, push, merge, patch, touch or delete", clip(e.operation))
	}
	if e.operation == "patch" && len(e.data) == 0 {
		return e, problem(InvalidBatch, "a patch needs data")
	}
	if e.operation == "push" {
		if !key.HasGlob(e.path) {
			return e, invalidPath("a push needs a pattern that ends in *")
		}
		if err := key.ValidateGlob(e.path); err != nil {
			return e, problem(InvalidPath, "%v", err)
		}
	} else if key.HasGlob(e.path) {
		return e, invalidPath("%q is a pattern, expected the path of one object", clip(e.path))
	}
	if e.cond.match, err = c.s.readTags("ifMatch", given(change.IfMatch), false); err != nil {
		return e, err
	}
	if e.cond.noneMatch, err = c.s.readTags("ifNoneMatch", given(change.IfNoneMatch), true); err != nil {
		return e, err
	}
	if e.operation == "push" && !e.cond.none() {
		return e, problem(InvalidBatch, "a push creates a new path, so it takes no conditions")
	}
	if e.ttl, e.hasTTL, err = batchTTL(change.TTL); err != nil {
		return e, err
	}
	return e, c.readTimes(&e, change)
}

// readTimes parses the expiry and the times of a change. A creation time chosen by a client moves the object in its
// lists, so it needs the verb admin.
func (c *call) readTimes(e *entry, change batchChange) error {
	e.keepTTL = change.KeepTTL
	if change.Expires != nil {
		if e.expires = *change.Expires; e.expires <= 0 {
			return problem(InvalidBatch, "expires is %d, expected Unix nanoseconds", e.expires)
		}
	}
	ends := 0
	for _, is := range []bool{e.hasTTL, e.keepTTL, e.expires != 0} {
		if is {
			ends++
		}
	}
	switch {
	case ends > 1:
		return problem(InvalidBatch, "expected only one of ttl, expires and keepTTL")
	case ends > 0 && e.operation == "delete", e.keepTTL && e.operation != "set":
		return problem(InvalidBatch, "a %s takes no ttl, expires and keepTTL", change.Operation)
	case change.Created == nil && change.Updated == nil:
		return nil
	case e.operation != "set" || change.Created == nil:
		return problem(InvalidBatch, "created and updated are only for a set, and updated needs created")
	}
	e.times = &storage.Times{Created: *change.Created}
	if change.Updated != nil {
		e.times.Updated = *change.Updated
	}
	return c.requireAllowed(Admin, e.path)
}

func given(header string) []string {
	if header == "" {
		return nil
	}
	return []string{header}
}

// batchTTL parses a time to live: a number of seconds, or a text such as "90m".
func batchTTL(raw json.RawMessage) (time.Duration, bool, error) {
	if len(raw) == 0 {
		return 0, false, nil
	}
	text := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return 0, false, fmt.Errorf("ttl: %w", err)
		}
	}
	ttl, ok := parseTTL(text)
	if !ok {
		return 0, false, problem(InvalidBatch, "the ttl is %s, expected seconds such as 90, or a time such as \"90m\"", clip(string(raw)))
	}
	return ttl, true, nil
}
