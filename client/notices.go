package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/oolith-db/oolith/internal/jsontext"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Messages of the server as notices of a store.

// message is the data of an event; docs/protocol.md describes it.
type message struct {
	Type          string
	Token         string
	Revision      uint64
	Subscriptions []struct {
		Objects []meta.Object
		Changes []struct {
			Set      *meta.Object
			Del      *string
			Revision uint64 // of a Del
			Reason   string // of a Del
		}
	}
}

// take turns an event into notices.
func (s *Subscription) take(data string) error {
	var m message
	if err := json.Unmarshal([]byte(data), &m); err != nil {
		return fmt.Errorf("invalid event of the server, %w", jsontext.Explain(err))
	}
	behind, notices := place{m.Token, s.behind.revision}, []storage.Notice(nil)
	switch m.Type {
	case "reset":
		// After losing the connection now, the next one delivers the state without another reset. There is no
		// position to resume from within a state.
		behind, s.live = place{}, false
		notices = append(notices, storage.Notice{Kind: storage.NoticeReset, Revision: m.Revision})
	case "live":
		behind.revision = m.Revision
		if !s.live { // otherwise it ends the missed changes of a reconnection, which is not visible to the subscriber
			s.live = true
			notices = append(notices, storage.Notice{Kind: storage.NoticeLive, Revision: m.Revision})
		}
	case "snapshot":
		for _, part := range m.Subscriptions {
			for i := range part.Objects {
				obj := &part.Objects[i]
				notices = append(notices, storage.Notice{Kind: storage.NoticeState, Revision: obj.Revision, Path: obj.Path, Object: obj})
			}
		}
	case "patch":
		behind.revision = m.Revision
		notices = m.changes()
	}
	s.waiting, s.behind = notices, behind
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lag = len(notices); s.lag == 0 {
		s.told = behind
	}
	return nil
}

// changes returns the notices of a commit in order of revision, with More on all but the last.
func (m *message) changes() (notices []storage.Notice) {
	for _, part := range m.Subscriptions {
		for _, ch := range part.Changes {
			n := storage.Notice{Kind: storage.NoticeSet, More: true}
			switch {
			case ch.Set != nil:
				n.Revision, n.Path, n.Object = ch.Set.Revision, ch.Set.Path, ch.Set
			case ch.Del != nil:
				n.Kind, n.Revision, n.Path = storage.NoticeDel, cmp.Or(ch.Revision, m.Revision), *ch.Del
				n.Object, n.Reason = &meta.Object{Path: n.Path, Index: key.LastIndex(n.Path)}, reasonOf(ch.Reason)
			default:
				continue // from a later version of the protocol
			}
			notices = append(notices, n)
		}
	}
	slices.SortStableFunc(notices, func(a, b storage.Notice) int { return cmp.Compare(a.Revision, b.Revision) })
	if len(notices) > 0 {
		notices[len(notices)-1].More = false
	}
	return notices
}

// reasonOf returns the reason with a name; ReasonNone if the server sends none.
func reasonOf(name string) storage.Reason {
	for reason := storage.ReasonDeleted; reason <= storage.ReasonPattern; reason++ {
		if reason.String() == name {
			return reason
		}
	}
	return storage.ReasonNone
}
