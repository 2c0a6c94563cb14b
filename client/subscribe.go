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

// SubscribeOptions of a subscription. The zero value begins with the state.
type SubscribeOptions struct {
	// Token resumes behind what an earlier subscription of the pattern told: its Subscription.Token. Where the server cannot
	// resume, a NoticeReset and the state follow. Empty begins with the state.
	Token string
	// Retry is told why a connection could not be made or was lost, and decides: with nil the subscription connects again
	// after a while, and an error ends the Next that it runs in. Without it, a subscription always connects again. Close is all
	// of the subscription that it may call.
	Retry func(err error) error
}

// Subscription follows what matches a pattern, as storage.Subscription does. Next is for one goroutine at a time. All other
// methods may be called from any goroutine.
type Subscription struct {
	client  *Client
	pattern string
	retry   func(error) error
	life    context.Context // ends with Close, and with that of Store.Subscribe
	end     context.CancelCauseFunc

	// For Next alone.
	waiting []storage.Notice
	behind  place // where the subscription is once all that waits was told
	lines   *bufio.Reader
	stop    context.CancelFunc // hangs up; nil without a connection
	fails   int                // attempts that failed in a row
	live    bool               // NoticeLive was made, and no reset since

	mu   sync.Mutex // guards what follows
	told place
	lag  int // of waiting
}

// place is how far a subscription has come.
type place struct {
	token    string
	revision uint64
}

// Subscribe follows what matches a path or pattern: the state first (storage.NoticeState, then NoticeLive), then every change.
// After a connection that was lost, or that is silent for too long, it resumes where it was; where the server cannot do
// that, a NoticeReset and a fresh state follow. Nothing is sent before the first Next. The caller closes the subscription.
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

// Close ends the subscription, and a Next that waits. It may be called any number of times.
func (s *Subscription) Close() { s.end(storage.ErrSubscriptionClosed) }

// Token returns from where another subscription of the pattern resumes: all up to there was told. It is empty before the
// state is told as a whole.
func (s *Subscription) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told.token
}

// Revision returns the revision up to which all changes were told; 0 before storage.NoticeLive.
func (s *Subscription) Revision() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told.revision
}

// Lag returns how many notices have arrived and wait for Next.
func (s *Subscription) Lag() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lag
}

// Next waits for the next notice, and connects where that is needed. It returns the context's error when that ends, which
// does not end the subscription, and the server's where it refuses the subscription. After Close it is
// storage.ErrSubscriptionClosed.
//
// The Object of a NoticeDel has no more than its path.
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

// tell hands out the next notice of those that wait.
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
		s.stop() // the connection goes with the context of its request
		s.stop = nil
	}
}

// read reads an event, or connects. It returns an error that ends Next.
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
	// The read of a connection ends with the context of its request: the end of this one ends the connection, and the next
	// Next resumes. So does silence.
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

// await waits for the next attempt to connect.
func (s *Subscription) await(ctx context.Context, cause error) error {
	if s.retry != nil {
		if err := s.retry(cause); err != nil {
			return err
		}
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	_ = pause(within, backOff(s.fails)) // Next looks at both contexts
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

// event reads the data of the next event. What is cut off is none.
func (s *Subscription) event() (string, error) {
	silent := time.AfterFunc(s.client.opt.Silence, s.stop)
	defer silent.Stop()
	var data strings.Builder
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		s.fails = 0 // something came: the server is well
		silent.Reset(s.client.opt.Silence)
		line = strings.TrimRight(line, "\r\n")
		if text, ok := strings.CutPrefix(line, "data:"); ok {
			data.WriteString(strings.TrimPrefix(text, " "))
		} else if line == "" && data.Len() > 0 {
			return data.String(), nil
		}
	}
}
