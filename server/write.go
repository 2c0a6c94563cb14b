package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/patch"
	"github.com/oolith-db/oolith/storage"
)

// entry is one change of a request.
type entry struct {
	operation string // "set", "push", "patch", "touch" or "delete"
	path      string
	data      json.RawMessage // of a set or a push
	// apply is the patch: it returns the new data for the present data, which is empty if there is no object.
	apply func(old []byte) ([]byte, error)
	// makes means that the patch creates an object if there is none.
	makes  bool
	cond   condition
	ttl    time.Duration
	hasTTL bool
	// Only in batches.
	keepTTL bool
	expires int64          // in place of ttl; 0 for none
	times   *storage.Times // of a restored object
}

// outcome is the result of an entry.
type outcome struct {
	Status int    `json:"status"`
	Path   string `json:"path"`
	// object is the stored object; nil for a delete, and if an earlier request stored it.
	object *meta.Object
	// revision is the revision of the change.
	revision uint64
}

// change answers a request that changes the objects at a path or pattern.
func (c *call) change() error {
	err := c.changes()
	c.audit(Write, c.path, err)
	return err
}

func (c *call) changes() error {
	if err := c.allow(Write, c.path); err != nil {
		return err
	}
	if _, err := c.parameters("v"); err != nil {
		return err
	}
	e := entry{path: c.path}
	var err error
	if e.cond, err = c.conditions(); err != nil {
		return err
	}
	if e.ttl, e.hasTTL, err = c.ttl(); err != nil {
		return err
	}
	if err := c.checkTarget(&e); err != nil {
		return err
	}
	var body []byte
	switch c.r.Method {
	case http.MethodDelete:
		if key.HasGlob(c.path) {
			return c.deleteAll()
		}
	case http.MethodPatch:
		if body, err = c.readPatch(&e); err != nil {
			return err
		}
	default:
		if kind := c.mediaType(); c.r.Method == http.MethodPut && kind != "" && !isJSON(kind) {
			return problem(UnsupportedType, "the media type %q is not supported, expected application/json%s", clip(kind), curlHint(kind)).header("Accept", "application/json")
		}
		if body, err = c.json(); err != nil {
			return err
		}
		e.data = body
	}
	outcomes, replayed, err := c.commit([]entry{e}, body)
	if err != nil {
		return err
	}
	return c.answerChange(e, outcomes[0], replayed)
}

// checkTarget rejects a path that the method does not accept, and sets the operation.
func (c *call) checkTarget(e *entry) error {
	glob := key.HasGlob(c.path)
	switch c.r.Method {
	case http.MethodPost:
		e.operation = "set"
		if !glob {
			return nil
		}
		e.operation = "push"
		if err := key.ValidateGlob(c.path); err != nil {
			older := "key: glob pattern must be at the end of the path"
			if errors.Is(err, key.ErrInvalidGlobCount) {
				older = "key: contains more than one glob pattern"
			}
			return problem(InvalidPath, "%v", err).saying(older)
		}
		if !e.cond.none() {
			return problem(InvalidHeader, "a push creates a new path, so it takes no conditions")
		}
		return nil
	case http.MethodPatch:
		e.operation = "patch"
	case http.MethodDelete:
		e.operation = "delete"
		if glob && !e.cond.none() {
			return problem(InvalidHeader, "a delete of a pattern takes no conditions; use a batch")
		}
		return nil
	default:
		e.operation = "set"
	}
	if glob {
		err := storage.ErrGlobNotAllowed
		p := problem(InvalidPath, "%s does not take a pattern, expected the path of one object", c.r.Method).saying(strings.Replace(err.Error(), "storage:", "ooo:", 1))
		return p
	}
	return nil
}

// readPatch reads the body of a PATCH by its media type. Older clients send none, or that of JSON.
func (c *call) readPatch(e *entry) ([]byte, error) {
	kind := c.mediaType()
	switch kind {
	case mergePatch, jsonPatch, "", "application/json":
	default:
		return nil, problem(UnsupportedType, "the media type %q is not a patch, expected one of %s, or application/json to replace members%s",
			clip(kind), patchTypes, curlHint(kind)).header("Accept-Patch", patchTypes)
	}
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	if err := c.s.checkJSON(body); err != nil {
		if p, ok := errors.AsType[*Problem](err); ok && (kind == mergePatch || kind == jsonPatch) {
			p.Kind = InvalidPatch
		}
		return nil, err
	}
	body = compact(body)
	switch kind {
	case mergePatch:
		e.makes = true
		e.apply = func(old []byte) ([]byte, error) { return patch.MergeJSON(old, body) }
	case jsonPatch:
		e.apply = func(old []byte) ([]byte, error) { return patch.ApplyJSON(old, body) }
	default:
		e.apply = func(old []byte) ([]byte, error) {
			data, err := patch.AssignJSON(old, body)
			if err != nil {
				p := problemOf(err)
				return nil, p.saying(strings.TrimPrefix(p.Detail, "patch: "))
			}
			return data, nil
		}
	}
	return body, nil
}

// curlHint is the advice for the media type that curl sends by default.
func curlHint(kind string) string {
	if kind == "application/x-www-form-urlencoded" {
		return "; curl sends this type by default, add -H 'Content-Type: application/json'"
	}
	return ""
}

// deleteAll deletes all objects that match a pattern, in one change.
func (c *call) deleteAll() error {
	if reaches(c.path) {
		return problem(ReservedPath, "the pattern %q covers %s/, which is reserved; name the first directory", clip(c.path), reserved)
	}
	if c.r.Header.Get("Idempotency-Key") != "" {
		return problem(InvalidHeader, "a delete of a pattern takes no Idempotency-Key").with("header", "Idempotency-Key")
	}
	if c.s.requires(c.path) {
		return problem(ConditionRequired, "objects at %q can only be deleted one by one, with If-Match", clip(c.path))
	}
	if err := c.before("delete", c.path, nil); err != nil {
		return err
	}
	if err := c.s.store.Del(c.path); err != nil {
		return err
	}
	c.write(http.StatusNoContent, "", nil)
	return nil
}

// before runs the hook before a write.
func (c *call) before(operation, path string, data *json.RawMessage) error {
	return c.s.before(c.identity, operation, path, data)
}

func (s *Server) before(identity any, operation, path string, data *json.RawMessage) error {
	if s.opt.BeforeWrite == nil {
		return nil
	}
	change := Change{Operation: operation, Path: path}
	if data != nil {
		change.Data = *data
	}
	if err := s.opt.BeforeWrite(identity, &change); err != nil {
		if p, ok := errors.AsType[*Problem](err); ok {
			return p
		}
		return problem(Refused, "%v", err).saying(err.Error())
	}
	if data == nil {
		return nil
	}
	if !jsonvalid.Valid(change.Data) {
		panic("server: BeforeWrite returned invalid JSON")
	}
	*data = change.Data
	return nil
}

// answerChange answers a request with one change.
func (c *call) answerChange(e entry, out outcome, replayed bool) error {
	header := c.w.Header()
	if replayed {
		header.Set("Idempotent-Replayed", "true")
	}
	if e.operation == "delete" {
		c.write(http.StatusNoContent, "", nil)
		return nil
	}
	header.Set("Etag", c.s.tag(out.revision))
	if e.operation != "patch" {
		header.Set("Location", "/"+out.Path)
	}
	status := out.Status
	if c.r.Method == http.MethodPost {
		status = http.StatusOK // as older clients expect it, also for an object that is new
	}
	if c.wantsObject() && out.object == nil {
		// An earlier request stored the object. It is shown if it has not changed since.
		if obj, err := c.s.store.Get(out.Path); err == nil && obj.Revision == out.revision {
			out.object = &obj
		}
	}
	if c.wantsObject() && out.object != nil && c.allow(Read, out.Path) == nil {
		if seen, ok := c.view(out.object); ok {
			header.Set("Preference-Applied", "return=representation")
			return c.sendObject(status, seen, condition{})
		}
	}
	c.write(status, "application/json", appendIndex(nil, out.Path))
	return nil
}

// appendIndex appends the answer that older clients expect of a write.
func appendIndex(b []byte, path string) []byte {
	b = append(b, `{"index":"`...)
	b = append(b, key.LastIndex(path)...)
	return append(b, `"}`...)
}
