package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oolith-db/oolith/internal/jsonvalid"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// presenceTTL is how long the object of a presence outlives a killed server. It is renewed three times in that time.
const presenceTTL = 3 * keepAliveSlots * time.Second

// presence is an object that exists as long as a connection.
type presence struct {
	path     string
	data     json.RawMessage
	revision uint64 // of the object; another client that overwrites it takes it over
}

// enter stores an object that disappears with the connection. The same id again stores new data.
func (s *session) enter(req *request) error {
	if err := checkID(req.ID); err != nil {
		return err
	}
	if err := key.Check(req.Path); err != nil || key.HasGlob(req.Path) {
		return malformed("path %.80q, expected the path of one object", req.Path)
	}
	if !jsonvalid.Valid(req.Data) {
		return malformed("data is missing, expected a JSON value")
	}
	err := s.allowed("write", req.Path)
	if err == nil {
		err = s.store(string(req.ID), req.Path, append(json.RawMessage(nil), req.Data...))
	}
	s.conn.caller.audit(req.Path, err)
	if err == nil {
		s.acknowledge("entered", req.ID)
	}
	return err
}

// store stores the object of a presence, unless the application rejects it.
func (s *session) store(id, path string, data json.RawMessage) error {
	var refused error
	if err := guard("BeforeWrite", func() { refused = s.conn.caller.beforeEnter(path, &data) }); err != nil {
		s.conn.live.opt.Logger.Error("the presence cannot be stored", "path", path, "error", err)
		return &problem{code: "unavailable", detail: "the server failed; its log has the reason"}
	}
	if refused != nil {
		return &problem{code: "refused", detail: refused.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.present[id]
	limit := s.conn.live.opt.Limits.Present
	switch {
	case s.over:
		return &problem{code: "unavailable", detail: "the connection is closing"}
	case p != nil && p.path != path:
		return malformed("id %s is in use for %s", id, p.path)
	case p == nil && len(s.present) >= limit:
		return &problem{code: "too-many", detail: fmt.Sprintf("the connection is present %d times, the limit Present is %d", len(s.present), limit)}
	}
	next := presence{path: path, data: data}
	condition := storage.SetOptions{IfAbsent: true}
	if p != nil {
		condition = storage.SetOptions{IfRevision: p.revision}
	}
	if err := s.put(&next, condition); err != nil {
		return err
	}
	if s.present == nil {
		s.present = make(map[string]*presence)
	}
	s.present[id] = &next
	return nil
}

// put stores the object of a presence.
func (s *session) put(p *presence, opt storage.SetOptions) error {
	opt.TTL = presenceTTL
	return s.written(p, func() (meta.Object, error) { return s.conn.live.store.SetWith(p.path, p.data, opt) })
}

// written processes the result of a write to a presence's object.
func (s *session) written(p *presence, write func() (meta.Object, error)) error {
	stored, err := write()
	if errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrNotFound) {
		return &problem{code: "conflict", detail: p.path + " has an object that is not this presence"}
	}
	if err == nil {
		p.revision = stored.Revision
	}
	return err
}

// exit removes the object of a presence.
func (s *session) exit(req *request) error {
	if err := checkID(req.ID); err != nil {
		return err
	}
	s.mu.Lock()
	p := s.present[string(req.ID)]
	delete(s.present, string(req.ID))
	s.mu.Unlock()
	if p == nil {
		return malformed("there is no presence with id %s", req.ID)
	}
	s.remove(p)
	s.conn.caller.audit(p.path, nil)
	s.acknowledge("exited", req.ID)
	return nil
}

// remove deletes the object of an ended presence, unless another client has taken it over. If that fails, its time to
// live ends it.
func (s *session) remove(p *presence) {
	err := s.conn.live.store.DelWith(p.path, storage.DelOptions{IfRevision: p.revision})
	if err != nil && !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrNotFound) {
		s.conn.live.opt.Logger.Warn("the presence cannot be removed", "path", p.path, "error", err)
	}
}

// renew extends the time to live of each object of the connection.
func (s *session) renew() {
	for path, err := range s.touch() {
		s.conn.live.opt.Logger.Warn("the presence cannot be renewed", "path", path, "error", err)
	}
}

// touch is renew. It returns the errors by path.
func (s *session) touch() map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := map[string]error{}
	for id, p := range s.present {
		err := s.written(p, func() (meta.Object, error) {
			return s.conn.live.store.TouchWith(p.path, storage.SetOptions{TTL: presenceTTL, IfRevision: p.revision})
		})
		var lost *problem
		switch {
		case errors.As(err, &lost): // somebody overwrote or removed it
			delete(s.present, id)
		case err != nil:
			failed[p.path] = err
		}
	}
	return failed
}

// leave removes the presences of a closed connection.
func (s *session) leave() {
	s.mu.Lock()
	present := s.present
	s.over, s.present = true, nil
	s.mu.Unlock()
	for _, p := range present {
		s.remove(p)
	}
}
