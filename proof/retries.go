package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

// The retries campaign has clients that repeat a request, with its Idempotency-Key, until there is an answer. The
// server is killed again and again, and clients disconnect before the answer arrives. Each write would be noticed if
// it were applied twice: a push, an append to an array, a batch with a push. At the end the store holds each of them
// once.

const (
	retryWriters = 16
	retryAppends = 40 // to one array
)

func retriesRound(ctx context.Context, c config, t *tally) error {
	h := &host{url: fmt.Sprintf(engines[int(c.seed)%len(engines)], c.dir)}
	if err := h.start(); err != nil {
		return err
	}
	alive := true
	defer func() {
		if alive {
			h.kill()
		}
	}()
	life, stop := context.WithCancel(context.Background())
	defer stop()
	var failure failures
	var writing sync.WaitGroup
	quiet := make(chan struct{})
	writers := make([]*retrier, retryWriters)
	for i := range writers {
		writers[i] = &retrier{index: i, address: h.address, rng: rand.New(rand.NewPCG(c.seed, uint64(i)))}
		writing.Go(func() { failure.add(writers[i].run(life, quiet)) })
	}
	for range 10 {
		if !failure.sleep(ctx, time.Duration(50+c.rng.IntN(700))*time.Millisecond) {
			break
		}
		h.kill()
		t.add("kills", 1)
		if err := h.start(); err != nil {
			alive = false
			return err
		}
	}
	close(quiet)
	patience := time.AfterFunc(time.Minute, stop)
	writing.Wait()
	patience.Stop()
	if life.Err() != nil {
		failure.add(errors.New("a write gets no answer for a minute"))
	}
	h.kill()
	alive = false
	if err := failure.first(); err != nil {
		return err
	}
	for _, w := range writers {
		t.add("writes", w.writes)
		t.add("of them sent again", w.retried)
		t.add("answers that were replayed", w.replayed)
	}
	return checkRetries(h.url, writers)
}

// checkRetries compares the content of a store with what was acknowledged.
func checkRetries(url string, writers []*retrier) error {
	store, err := openURL(url)
	if err != nil {
		return fmt.Errorf("the store does not start: %w", err)
	}
	defer store.Close()
	for _, w := range writers {
		pushed, err := store.GetList(fmt.Sprintf("pushed/%d/*", w.index))
		if err != nil {
			return err
		}
		got := make([]string, len(pushed))
		for i, obj := range pushed {
			if err := decode(obj.Data, &got[i]); err != nil {
				return err
			}
			if index := w.indexes[got[i]]; index != "" && index != obj.Index {
				return fmt.Errorf("writer %d: %s is at %s, the answer was %s", w.index, got[i], obj.Index, index)
			}
		}
		if err := sameKeys(got, w.pushed); err != nil {
			return fmt.Errorf("writer %d: pushes: %w", w.index, err)
		}
		for n, want := range w.arrays {
			obj, err := store.Get(fmt.Sprintf("arrays/%d/%d", w.index, n))
			if err != nil {
				return err
			}
			var held []string
			if err := decode(obj.Data, &held); err != nil {
				return err
			}
			if !slices.Equal(held, want) {
				return fmt.Errorf("writer %d: array %d holds %v, written was %v", w.index, n, held, want)
			}
		}
	}
	return nil
}

// sameKeys compares the existing keys with the written ones.
func sameKeys(got, want []string) error {
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got) || i < len(want) && want[i] < got[i]:
			return fmt.Errorf("%s is lost", want[i])
		case i >= len(want) || got[i] < want[i]:
			return fmt.Errorf("%s is there, and was not written or not twice", got[i])
		}
	}
	return nil
}

// retrier is a client that makes one write after the other.
type retrier struct {
	index   int
	address string
	rng     *rand.Rand

	pushed  []string
	indexes map[string]string // by key, if the answer contained it
	arrays  [][]string

	writes, retried, replayed int
}

func (w *retrier) run(ctx context.Context, quiet <-chan struct{}) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2}}
	defer client.CloseIdleConnections()
	w.indexes = map[string]string{}
	for n := 0; ; n++ {
		select {
		case <-quiet:
			return nil
		default:
		}
		id := fmt.Sprintf("w%d-%d", w.index, n)
		var err error
		switch w.rng.IntN(3) {
		case 0:
			err = w.push(ctx, client, id)
		case 1:
			err = w.append(ctx, client, id)
		default:
			err = w.batch(ctx, client, id)
		}
		if ctx.Err() != nil {
			return nil // the code that ended the context reports the cause
		}
		if err != nil {
			return fmt.Errorf("writer %d: %w", w.index, err)
		}
		w.writes++
	}
}

func (w *retrier) push(ctx context.Context, client *http.Client, id string) error {
	answer, err := w.send(ctx, client, id, "POST", fmt.Sprintf("/pushed/%d/*", w.index), fmt.Sprintf("%q", id), "application/json")
	if err != nil {
		return err
	}
	var made struct{ Index string }
	if err := decode(answer, &made); err != nil {
		return err
	}
	w.pushed, w.indexes[id] = append(w.pushed, id), made.Index
	return nil
}

// append appends to an array by a JSON Patch, or creates one.
func (w *retrier) append(ctx context.Context, client *http.Client, id string) error {
	last := len(w.arrays) - 1
	if last < 0 || len(w.arrays[last]) == retryAppends {
		if _, err := w.send(ctx, client, id, "PUT", fmt.Sprintf("/arrays/%d/%d", w.index, last+1), fmt.Sprintf("[%q]", id), "application/json"); err != nil {
			return err
		}
		w.arrays = append(w.arrays, []string{id})
		return nil
	}
	body := fmt.Sprintf(`[{"op":"add","path":"/-","value":%q}]`, id)
	if _, err := w.send(ctx, client, id, "PATCH", fmt.Sprintf("/arrays/%d/%d", w.index, last), body, "application/json-patch+json"); err != nil {
		return err
	}
	w.arrays[last] = append(w.arrays[last], id)
	return nil
}

// batch pushes twice in one commit.
func (w *retrier) batch(ctx context.Context, client *http.Client, id string) error {
	path := fmt.Sprintf("pushed/%d/*", w.index)
	body, err := json.Marshal(map[string]any{"changes": []map[string]any{
		{"op": "push", "path": path, "data": id + "-a"}, {"op": "push", "path": path, "data": id + "-b"}}})
	if err != nil {
		return err
	}
	answer, err := w.send(ctx, client, id, "POST", "/~/batch", string(body), "application/json")
	if err != nil {
		return err
	}
	var made struct{ Results []struct{ Index string } }
	if err := decode(answer, &made); err != nil {
		return err
	}
	if len(made.Results) != 2 {
		return fmt.Errorf("%s has %d results", id, len(made.Results))
	}
	for i, end := range []string{"-a", "-b"} {
		w.pushed, w.indexes[id+end] = append(w.pushed, id+end), made.Results[i].Index
	}
	return nil
}

// send sends a request until there is an answer, and sometimes once more after that. It often disconnects before the
// answer can arrive.
func (w *retrier) send(ctx context.Context, client *http.Client, id, method, target, body, kind string) (answer []byte, err error) {
	again := w.rng.IntN(10) == 0
	for attempt := 0; ; attempt++ {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if attempt == 1 {
			w.retried++
		}
		patience := ctx
		if w.rng.IntN(2) == 0 {
			var cancel context.CancelFunc
			patience, cancel = context.WithTimeout(ctx, time.Duration(w.rng.IntN(1<<w.rng.IntN(24))))
			defer cancel()
		}
		status, got, header, err := askAll(patience, client, method, "http://"+w.address+target, []byte(body), "Content-Type", kind, "Idempotency-Key", id)
		switch {
		case err != nil || status == http.StatusServiceUnavailable:
			if attempt > 3 {
				time.Sleep(2 * time.Millisecond) // the server is restarting
			}
			continue
		case status >= 300:
			return nil, fmt.Errorf("%s %s: %d %s", method, target, status, got)
		}
		isReplay := header.Get("Idempotent-Replayed") == "true"
		if isReplay {
			w.replayed++
		}
		if isReplay && attempt == 0 {
			return nil, fmt.Errorf("%s was never sent, and is replayed", id)
		}
		if answer != nil {
			// It was answered before.
			if !isReplay || withoutStore(answer) != withoutStore(got) {
				return nil, fmt.Errorf("%s is answered with %s, and then with %s (replayed: %v)", id, answer, got, isReplay)
			}
			return answer, nil
		}
		if answer = got; !again {
			return answer, nil
		}
	}
}

// withoutStore removes the identity of the store from the entity tags of an answer: not every engine keeps it.
func withoutStore(answer []byte) string {
	return storeInTag.ReplaceAllString(string(answer), `"-`)
}

var storeInTag = regexp.MustCompile(`"[0-9a-f]{16}-`)
