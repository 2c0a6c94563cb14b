package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The stream campaign has clients of every protocol follow a durable server over real sockets. They are disconnected
// in the middle of a message, they stop reading, and the server is ended or killed and restarted. Each key has a
// number that grows by one with each change, including deletes: every client can therefore detect losses, duplicates
// and reordering by itself. At the end all of them hold what the writers wrote.

const (
	streamWriters = 32
	streamKeys    = 4 // of each writer
)

// number is the number of a key, and whether the key exists.
type number struct {
	n     uint64
	there bool
}

// streamRound runs one server with its clients, and some restarts.
func streamRound(ctx context.Context, c config, t *tally) error {
	h := &host{url: fmt.Sprintf(engines[0], c.dir)}
	if err := h.start(); err != nil {
		return err
	}
	defer h.kill()
	life, stop := context.WithCancel(context.Background())
	defer stop()
	var failure failures
	followers := newFollowers(c.rng.Uint64(), h.address)
	var following, writing sync.WaitGroup
	for _, f := range followers {
		following.Go(func() { failure.add(f.run(life)) })
	}
	defer following.Wait()
	defer stop()

	quiet := make(chan struct{})
	writers := make([]*numbered, streamWriters)
	for i := range writers {
		writers[i] = &numbered{index: i, address: h.address, held: map[string]number{}}
		rng := rand.New(rand.NewPCG(c.seed, uint64(i)+100))
		writing.Go(func() { failure.add(writers[i].run(life, quiet, rng)) })
	}
	for range 3 {
		if !failure.sleep(ctx, time.Duration(1000+c.rng.IntN(2000))*time.Millisecond) {
			break
		}
		kill := c.rng.IntN(2) == 0
		if kill {
			h.kill()
			t.add("kills", 1)
		} else if err := h.end(); err != nil {
			return err
		} else {
			t.add("restarts", 1)
		}
		if err := h.start(); err != nil {
			return err
		}
	}
	failure.sleep(ctx, 500*time.Millisecond)
	close(quiet)
	writing.Wait()
	want := map[string]number{}
	for _, w := range writers {
		t.add("commits", w.commits)
		for path, n := range w.held {
			want[path] = n
		}
	}
	err := settle(followers, want, &failure)
	stop()
	following.Wait()
	for _, f := range followers {
		t.add("messages of "+f.protocol.name(), int(f.messages.Load()))
	}
	for _, f := range followers {
		t.add("cuts", f.cuts)
		t.add("pauses", f.pauses)
		t.add("states", f.states)
		t.add("catch-ups", f.caughtUp)
	}
	return errors.Join(err, failure.first())
}

// settle waits until all clients hold what the writers wrote. It fails when nothing arrives any more.
func settle(followers []*follower, want map[string]number, failure *failures) error {
	const patience = 30 * time.Second
	last, since := int64(-1), time.Now()
	for {
		var wrong error
		total := int64(0)
		for _, f := range followers {
			f.calm.Store(true)
			total += f.messages.Load()
			if err := f.differs(want); err != nil {
				wrong = err
			}
		}
		switch {
		case wrong == nil || failure.first() != nil:
			return nil
		case total != last:
			last, since = total, time.Now()
		case time.Since(since) > patience:
			return fmt.Errorf("nothing comes any more: %w", wrong)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// failures keeps the first error of several goroutines.
type failures struct{ err atomic.Pointer[error] }

func (f *failures) add(err error) {
	if err != nil {
		f.err.CompareAndSwap(nil, &err)
	}
}

func (f *failures) first() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// sleep waits. It returns false if the round must end.
func (f *failures) sleep(ctx context.Context, d time.Duration) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ctx.Err() != nil || f.first() != nil {
			return false
		}
	}
	return true
}

// numbered is a writer over HTTP. It is the only writer of its keys.
type numbered struct {
	index   int
	address string
	held    map[string]number
	commits int
}

// step is one change of a batch.
type step struct {
	Operation string          `json:"op"`
	Path      string          `json:"path"`
	Data      json.RawMessage `json:"data,omitempty"`
}

func (w *numbered) run(ctx context.Context, quiet <-chan struct{}, rng *rand.Rand) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for {
		select {
		case <-quiet:
			return nil
		case <-ctx.Done():
			return nil
		default:
		}
		next := map[string]number{}
		var steps []step
		for _, k := range rng.Perm(streamKeys)[:1+rng.IntN(3)] {
			path := fmt.Sprintf("s/%d/%d", w.index, k)
			had := w.held[path]
			if had.there && rng.IntN(6) == 0 {
				next[path] = number{had.n + 1, false}
				steps = append(steps, step{Operation: "delete", Path: path})
				continue
			}
			next[path] = number{had.n + 1, true}
			data := fmt.Appendf(nil, `{"n":%d,"pad":"%0*d"}`, had.n+1, rng.IntN(100), 7)
			steps = append(steps, step{"set", path, data})
		}
		body, err := json.Marshal(map[string]any{"changes": steps})
		if err != nil {
			return err
		}
		status, answer, err := ask(ctx, client, "POST", "http://"+w.address+"/~/batch", body)
		made := err == nil && status == http.StatusOK
		if err == nil && !made && status < 500 {
			return fmt.Errorf("writer %d: %d %s", w.index, status, answer)
		}
		if !made { // the outcome is unknown
			if made, err = w.was(ctx, client, steps[0], next); err != nil {
				return err
			}
		}
		if made {
			w.commits++
			for path, n := range next {
				w.held[path] = n
			}
		}
	}
}

// was determines whether a batch was applied, by its first change.
func (w *numbered) was(ctx context.Context, client *http.Client, first step, next map[string]number) (bool, error) {
	for ctx.Err() == nil {
		status, body, err := ask(ctx, client, "GET", "http://"+w.address+"/"+first.Path, nil)
		var obj streamObject
		switch {
		case err != nil || status >= 500:
			time.Sleep(10 * time.Millisecond) // the server is restarting
			continue
		case status == http.StatusNotFound:
			return !next[first.Path].there, nil
		case status != http.StatusOK:
			return false, fmt.Errorf("writer %d: %d %s", w.index, status, body)
		}
		if err := json.Unmarshal(body, &obj); err != nil {
			return false, err
		}
		if had := w.held[first.Path].n; obj.Data.N != had && obj.Data.N != had+1 {
			return false, fmt.Errorf("%s has the number %d behind %d: a write was lost or doubled", first.Path, obj.Data.N, had)
		}
		return next[first.Path].there && obj.Data.N == next[first.Path].n, nil
	}
	return false, nil
}

// ask sends a request, and returns the status and the body of the answer.
func ask(ctx context.Context, client *http.Client, method, url string, body []byte) (int, []byte, error) {
	status, answer, _, err := askAll(ctx, client, method, url, body, "Content-Type", "application/json")
	return status, answer, err
}

// askAll is ask with headers, by name and value. It also returns the headers of the answer.
func askAll(ctx context.Context, client *http.Client, method, url string, body []byte, headers ...string) (int, []byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, resp.Header, err
}
