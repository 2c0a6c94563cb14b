package client

import (
	"bufio"
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/oolith-db/oolith/storage"
)

// Whatever a stream holds, it is notices or an error, and the last of a message has no More.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("retry: 3852\n\nid: bc.1\nevent: snapshot\ndata: {\"type\":\"snapshot\",\"token\":\"bc.1\",\"revision\":1,\"subscriptions\":[{\"id\":\"a/*\",\"objects\":[{\"path\":\"a/b\",\"revision\":1,\"data\":1}]}]}\n\n: ping\n\ndata: {\"type\":\"live\",\"revision\":1}\n\n"))
	f.Add([]byte("data: {\"type\":\"patch\",\"token\":\"bc.4\",\"revision\":4,\"subscriptions\":[{\"changes\":[{\"del\":\"a/b\",\"revision\":4,\"reason\":\"limit\"},{\"set\":{\"path\":\"a/c\",\"revision\":3}},{}]}]}\n\n"))
	f.Add([]byte("data: {\"type\":\"reset\",\"revision\":7}\r\ndata:x\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		s := &Subscription{client: &Client{opt: Options{Silence: time.Hour}}, lines: bufio.NewReader(bytes.NewReader(stream)), stop: func() {}}
		s.life, s.end = context.WithCancelCause(context.Background())
		for {
			data, err := s.event()
			if err == nil {
				err = s.take(data)
			}
			if err != nil {
				return
			}
			for i, n := range s.waiting {
				if last := i == len(s.waiting)-1; last && n.More || n.Kind == storage.NoticeDel && n.Object == nil {
					t.Errorf("%q: notice %d of %d is %+v", data, i, len(s.waiting), n)
				}
			}
			for len(s.waiting) > 0 {
				s.tell()
			}
			if s.told != s.behind || s.Lag() != 0 {
				t.Errorf("%q: all is told, and it is at %v, not %v", data, s.told, s.behind)
			}
		}
	})
}
