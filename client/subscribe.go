package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

// Subscription follows what matches a pattern, as storage.Subscription does. Next is for one goroutine at a time.
type Subscription struct {
	client  *Client
	pattern string
	token   string
	waiting []storage.Notice
	resp    *http.Response
	lines   *bufio.Reader
	stop    context.CancelFunc
	fails   int // attempts to connect that failed in a row
}

// Subscribe follows what matches a path or pattern: the state first (storage.NoticeState, then NoticeLive), then every change.
// After a connection that was lost, it resumes where it was; where the server cannot do that, a NoticeReset and a fresh state
// follow. Nothing is sent before the first Next. The caller closes the subscription.
func (c *Client) Subscribe(pattern string) (*Subscription, error) {
	if err := key.Check(pattern); err != nil {
		return nil, failed("subscribe", pattern, fmt.Errorf("%w: %w", storage.ErrInvalidPath, err))
	}
	return &Subscription{client: c, pattern: pattern}, nil
}

// Close ends the subscription. It must not be called during a Next, whose context ends that.
func (s *Subscription) Close() {
	s.hangUp()
	s.waiting = nil
	s.client = nil
}

func (s *Subscription) hangUp() {
	if s.resp != nil {
		s.stop()
		_ = s.resp.Body.Close() // it is given up
		s.resp = nil
	}
}

// Next waits for the next notice, and connects where that is needed. It returns the context's error when that ends, which
// does not end the subscription, and the server's where it refuses the subscription. The Object of a NoticeDel has no more
// than its path.
func (s *Subscription) Next(ctx context.Context) (storage.Notice, error) {
	for {
		if s.client == nil {
			return storage.Notice{}, storage.ErrSubscriptionClosed
		}
		if len(s.waiting) > 0 {
			n := s.waiting[0]
			s.waiting = s.waiting[1:]
			return n, nil
		}
		if err := s.read(ctx); err != nil {
			return storage.Notice{}, failed("subscribe", s.pattern, err)
		}
	}
}

// read reads an event, or connects. It returns an error that ends Next.
func (s *Subscription) read(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.resp == nil {
		err := s.connect(ctx)
		if err == nil {
			return nil
		}
		refused, ok := errors.AsType[*Error](err)
		if ctx.Err() != nil || ok && refused.Status < 500 && refused.Status != http.StatusTooManyRequests {
			return errors.Join(err, ctx.Err())
		}
		s.fails++
		select {
		case <-time.After(min(100*time.Millisecond<<min(s.fails, 6), 5*time.Second)):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	// The read of a connection ends with the context of its request: this one's end ends the connection, and the next Next
	// resumes.
	release := context.AfterFunc(ctx, s.stop)
	defer release()
	data, err := s.event()
	if err != nil {
		s.hangUp()
		return ctx.Err()
	}
	return s.take(data)
}

func (s *Subscription) connect(ctx context.Context) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, stop)
	defer release()
	header := http.Header{"Accept": {"text/event-stream, " + problemType}}
	if s.token != "" {
		header.Set("Last-Event-ID", s.token)
	}
	req, err := s.client.request(life, http.MethodGet, "/~/live?"+url.Values{"watch": {s.pattern}}.Encode(), nil, header)
	if err != nil {
		stop()
		return err
	}
	resp, err := s.client.opt.HTTP.Do(req)
	if err != nil {
		stop()
		return err
	}
	if resp.StatusCode != http.StatusOK {
		defer stop()
		return errors.Join(readError(resp), resp.Body.Close())
	}
	s.resp, s.lines, s.stop, s.fails = resp, bufio.NewReader(resp.Body), stop, 0
	return nil
}

// event reads the data of the next event.
func (s *Subscription) event() (string, error) {
	var data strings.Builder
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		if text, ok := strings.CutPrefix(line, "data:"); ok {
			data.WriteString(strings.TrimPrefix(text, " "))
		} else if line == "" && data.Len() > 0 {
			return data.String(), nil
		}
	}
}

// message is the data of an event.
type message struct {
	Type          string
	Token         string
	Revision      uint64
	Subscriptions []struct {
		Objects []meta.Object
		Changes []struct {
			Set *meta.Object
			Del *string
		}
	}
}

// take makes notices of an event.
func (s *Subscription) take(data string) error {
	var m message
	if err := json.Unmarshal([]byte(data), &m); err != nil {
		return fmt.Errorf("an event of the server: %w", err)
	}
	var notices []storage.Notice
	switch m.Type {
	case "reset":
		notices = append(notices, storage.Notice{Kind: storage.NoticeReset, Revision: m.Revision})
	case "live":
		notices = append(notices, storage.Notice{Kind: storage.NoticeLive, Revision: m.Revision})
	}
	for _, part := range m.Subscriptions {
		for i := range part.Objects {
			obj := &part.Objects[i]
			notices = append(notices, storage.Notice{Kind: storage.NoticeState, Revision: obj.Revision, Path: obj.Path, Object: obj})
		}
		for _, ch := range part.Changes {
			switch {
			case ch.Set != nil:
				notices = append(notices, storage.Notice{Kind: storage.NoticeSet, Revision: ch.Set.Revision, Path: ch.Set.Path, Object: ch.Set, More: true})
			case ch.Del != nil:
				removed := &meta.Object{Path: *ch.Del, Index: key.LastIndex(*ch.Del)}
				notices = append(notices, storage.Notice{Kind: storage.NoticeDel, Revision: m.Revision, Path: *ch.Del, Object: removed, More: true})
			}
		}
	}
	if len(notices) > 0 {
		notices[len(notices)-1].More = false
	}
	s.waiting, s.token = notices, m.Token
	return nil
}
