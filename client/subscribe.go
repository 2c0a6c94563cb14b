package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// SubscribeOptions configure a subscription. With the zero value it begins with the state.
type SubscribeOptions struct {
	// Token resumes after an earlier subscription of the pattern: its Subscription.Token. If the server cannot
	// resume, a NoticeReset and the state follow. Empty begins with the state.
	Token string
	// Retry is called with the reason when a connection fails or is lost. If it returns nil the subscription
	// reconnects after a while; an error ends the Next that is running. Without Retry a subscription always
	// reconnects. The only method of the subscription that Retry may call is Close.
	Retry func(err error) error
}

// Subscription delivers the changes of the objects that match a pattern, as storage.Subscription does. Only one
// goroutine at a time may call Next. All other methods may be called concurrently.
type Subscription struct {
	client  *Client
	pattern string
	retry   func(error) error
	life    context.Context // ends with Close, and with the context of Store.Subscribe
	end     context.CancelCauseFunc

	// Used only by Next.
	waiting []storage.Notice
	behind  place // the position after all waiting notices
	lines   *bufio.Reader
	stop    context.CancelFunc // closes the connection; nil without one
	fails   int                // attempts that failed in a row
	live    bool               // NoticeLive was made, and no reset since

	mu   sync.Mutex // guards what follows
	told place
	lag  int // of waiting
}

// place is a position in the stream.
type place struct {
	token    string
	revision uint64
}

// Subscribe subscribes to the objects that match a path or a pattern. It delivers the state first
// (storage.NoticeState, then NoticeLive), then every change. After a lost or silent connection it resumes at its
// position. If the server cannot resume, a NoticeReset and a fresh state follow. Nothing is sent before the first
// Next. The caller must close the subscription.
func (c *Client) Subscribe(pattern string, opt SubscribeOptions) (*Subscription, error) {
	return c.subscribe(context.Background(), pattern, opt)
}

// subscribe is Subscribe until a context ends.
func (c *Client) subscribe(ctx context.Context, pattern string, opt SubscribeOptions) (*Subscription, error) {
	if err := key.Check(pattern); err != nil {
		return nil, failed("subscribe", pattern, fmt.Errorf("%w, %w", storage.ErrInvalidPath, err))
	}
	s := &Subscription{client: c, pattern: pattern, retry: opt.Retry, told: place{token: opt.Token}, behind: place{token: opt.Token}}
	s.life, s.end = context.WithCancelCause(ctx)
	return s, nil
}

// Close ends the subscription and a waiting Next. It may be called several times.
func (s *Subscription) Close() { s.end(storage.ErrSubscriptionClosed) }

// Token returns the position from which another subscription of the pattern can resume: everything before it was
// delivered. It is empty until the whole state is delivered.
func (s *Subscription) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told.token
}

// Revision returns the revision up to which all changes were delivered; 0 before storage.NoticeLive.
func (s *Subscription) Revision() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told.revision
}

// Lag returns the number of received notices that wait for Next.
func (s *Subscription) Lag() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lag
}

// Next waits for the next notice and connects if necessary. If its context ends it returns the context's error, and
// the subscription stays open. If the server rejects the subscription it returns the server's error. After Close it
// returns storage.ErrSubscriptionClosed.
//
// The Object of a NoticeDel has only a path.
func (s *Subscription) Next(ctx context.Context) (storage.Notice, error) {
	for {
		if s.life.Err() != nil {
			s.hangUp()
			return storage.Notice{}, failed("subscribe", s.pattern, context.Cause(s.life))
		}
		if err := ctx.Err(); err != nil {
			return storage.Notice{}, failed("subscribe", s.pattern, err)
		}
		if len(s.waiting) > 0 {
			return s.tell(), nil
		}
		if err := s.read(ctx); err != nil && s.life.Err() == nil {
			return storage.Notice{}, failed("subscribe", s.pattern, err)
		}
	}
}

// tell returns the next waiting notice.
func (s *Subscription) tell() storage.Notice {
	n := s.waiting[0]
	s.waiting = s.waiting[1:]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lag = len(s.waiting); s.lag == 0 {
		s.told = s.behind
	}
	return n
}

func (s *Subscription) hangUp() {
	if s.stop != nil {
		s.stop() // the context of its request ends the connection
		s.stop = nil
	}
}

// read reads an event or connects. An error ends Next.
func (s *Subscription) read(ctx context.Context) error {
	if s.stop == nil {
		err := s.connect(ctx)
		if err == nil {
			return nil
		}
		if refused, ok := errors.AsType[*Error](err); ctx.Err() != nil || ok && !isPassing(refused) {
			return errors.Join(err, ctx.Err())
		}
		return s.await(ctx, err)
	}
	// Reading ends with the context of the connection's request. If this context ends, it closes the connection, and
	// the next Next resumes. Silence has the same effect.
	release := context.AfterFunc(ctx, s.stop)
	defer release()
	data, err := s.event()
	if err == nil {
		err = s.take(data)
	}
	if err != nil {
		s.hangUp()
		if ctx.Err() != nil || s.retry == nil {
			return ctx.Err()
		}
		return s.retry(fmt.Errorf("the connection to the server was lost: %w", err))
	}
	return nil
}

// await waits before the next attempt to connect.
func (s *Subscription) await(ctx context.Context, cause error) error {
	if s.retry != nil {
		if err := s.retry(cause); err != nil {
			return err
		}
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	_ = pause(within, backOff(s.fails)) // Next checks both contexts
	s.fails++
	return ctx.Err()
}

func (s *Subscription) connect(ctx context.Context) error {
	life, stop := context.WithCancel(s.life)
	defer context.AfterFunc(ctx, stop)()
	header := http.Header{"Accept": {"text/event-stream, " + problemType}}
	if s.behind.token != "" {
		header.Set("Last-Event-ID", s.behind.token)
	}
	target := "/~/live?" + url.Values{"watch": {s.pattern}}.Encode()
	req, err := s.client.newRequest(life, request{method: http.MethodGet, target: target, header: header})
	if err != nil {
		stop()
		return err
	}
	silent := time.AfterFunc(s.client.opt.Silence, stop)
	defer silent.Stop()
	resp, err := s.client.opt.HTTP.Do(req)
	if err != nil {
		silence := life.Err() != nil && ctx.Err() == nil && s.life.Err() == nil
		stop()
		if silence {
			return fmt.Errorf("%s does not answer within %v", s.client.base, s.client.opt.Silence)
		}
		return s.client.unanswered(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer stop()
		return errors.Join(readError(resp), resp.Body.Close())
	}
	s.lines, s.stop = bufio.NewReader(resp.Body), stop
	return nil
}

// event reads the data of the next event. It discards an incomplete event.
func (s *Subscription) event() (string, error) {
	silent := time.AfterFunc(s.client.opt.Silence, s.stop)
	defer silent.Stop()
	var data strings.Builder
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		s.fails = 0 // the server is alive
		silent.Reset(s.client.opt.Silence)
		line = strings.TrimRight(line, "\r\n")
		if text, ok := strings.CutPrefix(line, "data:"); ok {
			data.WriteString(strings.TrimPrefix(text, " "))
		} else if line == "" && data.Len() > 0 {
			return data.String(), nil
		}
	}
}
