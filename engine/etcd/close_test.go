package etcd

import (
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/oolith-db/oolith/storage"
)

// A proposal that waits while Close removes the record of the node ends, and does not make the record anew.
func TestProposeThatCloseOvertakes(t *testing.T) {
	l, f := newFake(t)
	s := l.session.Load()
	proposed := make(chan error, 1)
	f.answer = func([]clientv3.Op) (bool, error) {
		f.answer = nil
		go func() { // it has the session, and waits for its turn
			l.session.Store(s)
			_, err := l.Propose(t.Context(), putOf("k"))
			proposed <- err
		}()
		return true, nil
	}
	l.Close()
	if err := <-proposed; !errors.Is(err, storage.ErrNotActive) {
		t.Errorf("Propose: %v, want ErrNotActive", err)
	}
	if n := len(f.held); n > 0 {
		t.Errorf("%d keys stay", n)
	}
	l.session.Store(nil)
}
