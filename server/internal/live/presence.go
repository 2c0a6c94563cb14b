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

// presenceTTL is how long the object of a presence outlives a server that is killed. It is renewed three times in that time.
const presenceTTL = 3 * keepAliveSlots * time.Second

// presence is an object that lives as long as a connection.
type presence struct {
	path     string
	data     json.RawMessage
	revision uint64 // of the object: whoever overwrites it makes it theirs
}

// enter stores an object that goes with the connection. The same id again stores other data.
func (s *session) enter(req *request) error {
	if err := checkID(req.ID); err != nil {
		return err
	}
	if err := key.Check(req.Path); err != nil || key.HasGlob(req.Path) {
		return malformed("path %.80q: expected the path of one object", req.Path)
	}
	if !jsonvalid.Valid(req.Data) {
		return malformed("data is missing, expected a JSON value")
	}
	if err := s.allowed("write", req.Path); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := string(req.ID)
	p := s.present[id]
	limit := s.conn.live.opt.Limits.Present
	switch {
	case s.over:
		return nil
	case p != nil && p.path != req.Path:
		return malformed("id %s is in use for %s", id, p.path)
	case p == nil && len(s.present) >= limit:
		return &problem{code: "too-many", detail: fmt.Sprintf("the connection is present %d times; the limit is Present, %d", len(s.present), limit)}
	}
	next := presence{path: req.Path, data: append(json.RawMessage(nil), req.Data...)}
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
	s.acknowledge("entered", req.ID)
	return nil
}

// put stores the object of a presence.
func (s *session) put(p *presence, opt storage.SetOptions) error {
	opt.TTL = presenceTTL
	return s.written(p, func() (meta.Object, error) { return s.conn.live.store.SetWith(p.path, p.data, opt) })
}

// written takes in what became of a write of a presence's object.
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
	defer s.mu.Unlock()
	p := s.present[string(req.ID)]
	if p == nil {
		return malformed("id %s is that of no presence", req.ID)
	}
	delete(s.present, string(req.ID))
	s.remove(p)
	s.acknowledge("exited", req.ID)
	return nil
}

// remove removes the object of a presence, unless it is another's by now.
func (s *session) remove(p *presence) {
	err := s.conn.live.store.DelWith(p.path, storage.DelOptions{IfRevision: p.revision})
	switch {
	case err == nil, errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrNotFound):
	default: // its time to live ends it
		s.conn.live.opt.Logger.Warn("a presence is not removed", "path", p.path, "error", err)
	}
}

// renew gives each object of the connection a new time to live.
func (s *session) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.present {
		err := s.written(p, func() (meta.Object, error) {
			return s.conn.live.store.TouchWith(p.path, storage.SetOptions{TTL: presenceTTL, IfRevision: p.revision})
		})
		var lost *problem
		switch {
		case errors.As(err, &lost): // somebody overwrote or removed it
			delete(s.present, id)
		case err != nil:
			s.conn.live.opt.Logger.Warn("a presence is not renewed", "path", p.path, "error", err)
		}
	}
}

// leave removes what the connection is present by. The connection is gone.
func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, p := range s.present {
		s.remove(p)
	}
	s.present = nil
}
