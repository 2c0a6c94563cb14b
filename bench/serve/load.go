package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// requests measures the number of requests a second, compared with a handler that does nothing.
func requests(c config) ([]result, error) {
	ours, err := newSide(c, "oolith durable")
	if err != nil {
		return nil, err
	}
	defer ours.close()
	bare, err := newSide(c, "bare")
	if err != nil {
		return nil, err
	}
	defer bare.close()
	memory, err := newSide(c, "oolith")
	if err != nil {
		return nil, err
	}
	defer memory.close()
	post := func(s *side) (float64, error) {
		return over(c, s, func(caller, n int) string {
			return strings.Replace(put(fmt.Sprintf("/r/%d-%d", caller, n%1000), value(1)), "PUT", "POST", 1)
		})
	}
	read := func(s *side) (float64, error) {
		return over(c, s, func(caller, n int) string { return get(fmt.Sprint("/a/", (caller+n)%listed), "") })
	}
	posts := result{name: fmt.Sprintf("durable POST, %d connections, a second", callers), goal: "at least 0.7 of bare"}
	inMemory := result{name: "the same of a store in memory: what the disk has no part in"}
	gets := result{name: "GET of an object, a second", goal: "at least 0.8 of bare"}
	for _, row := range []struct {
		r       *result
		ours    *side
		measure func(*side) (float64, error)
		least   float64
	}{{&posts, ours, post, 0.7}, {&inMemory, memory, post, 0}, {&gets, ours, read, 0.8}} {
		var a, b, ratios []float64
		for range c.rounds {
			x, err := row.measure(row.ours)
			if err != nil {
				return nil, err
			}
			y, err := row.measure(bare)
			if err != nil {
				return nil, err
			}
			a, b, ratios = append(a, x), append(b, y), append(ratios, x/y)
		}
		row.r.ours, row.r.bare = fmt.Sprintf("%.0f (%.2f)", median(a), median(ratios)), fmt.Sprintf("%.0f", median(b))
		row.r.met = median(ratios) >= row.least
	}
	if !c.peers {
		return []result{posts, inMemory, gets}, nil
	}
	for kind, to := range map[string]*string{"nats durable": &posts.nats, "etcd": &posts.etcd} {
		s, err := newSide(c, kind)
		if err != nil {
			return nil, err
		}
		var rates []float64
		for range c.rounds {
			one, err := rate(callers, c.round, func(caller, n int) error { return s.put(caller*1000+n%1000, value(1)) })
			if err != nil {
				s.close()
				return nil, fmt.Errorf("%s: %w", kind, err)
			}
			rates = append(rates, one)
		}
		s.close()
		*to = fmt.Sprintf("%.0f", median(rates))
	}
	return []result{posts, inMemory, gets}, nil
}

// over returns how many requests a second all callers make during a round.
func over(c config, s *side, request func(caller, n int) string) (float64, error) {
	requesters := make([]*requester, callers)
	for i := range requesters {
		var err error
		if requesters[i], err = newRequester(s.address); err != nil {
			return 0, err
		}
		defer requesters[i].conn.Close()
	}
	return rate(callers, c.round, func(caller, n int) error { return requesters[caller].do(request(caller, n)) })
}

// delivery measures how long writes take to reach their subscribers, at a rate that a server must sustain.
func delivery(c config) ([]result, error) {
	const followers, writes = 100, 1000
	r := result{name: fmt.Sprintf("%d writes a second to %d subscribers, p99 of write to delivery", writes, followers), goal: "at most 5 ms beyond bare"}
	p99 := map[string]time.Duration{}
	for _, one := range c.sides("oolith", &r.ours, &r.bare, &r.nats, &r.etcd) {
		s, err := newSide(c, one.kind)
		if err != nil {
			return nil, err
		}
		seen := make([][]time.Duration, followers)
		start := time.Now()
		stop, err := s.follow(followers, func(follower int, mark int64) {
			if mark > 0 {
				seen[follower] = append(seen[follower], time.Since(start)-time.Duration(mark))
			}
		})
		total := int(time.Duration(c.rounds) * c.round * writes / time.Second)
		if err == nil {
			err = paced(total, writes, func(caller int) error { return s.write(caller, int64(time.Since(start))) })
		}
		time.Sleep(time.Second) // lets messages in flight arrive
		stop()
		s.close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.kind, err)
		}
		time.Sleep(100 * time.Millisecond) // lets the readers end
		var all []time.Duration
		for i, some := range seen {
			if len(some) == 0 {
				return nil, fmt.Errorf("%s: follower %d saw none of %d writes", one.kind, i, total)
			}
			all = append(all, some...)
		}
		p99[one.kind] = quantile(all, 0.99)
		*one.to = ms(p99[one.kind])
		if got := float64(len(all)) / float64(total*followers); got < 0.999 { // the others get the newest state instead
			*one.to += fmt.Sprintf(", %.0f%% one by one", 100*got)
		}
	}
	r.met = p99["oolith"]-p99["bare"] <= 5*time.Millisecond
	return []result{r}, nil
}

// paced makes calls at a fixed rate, regardless of their duration, up to the number of callers at a time.
func paced(total, rate int, call func(caller int) error) error {
	turns := make(chan struct{}, total)
	errs := make([]error, 16)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			for range turns {
				if errs[i] = call(i); errs[i] != nil {
					return
				}
			}
		})
	}
	began := time.Now()
	for i := range total {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		turns <- struct{}{}
	}
	close(turns)
	all.Wait()
	return errors.Join(errs...)
}

// reconnect measures how long it takes to serve all clients that reconnect at once, if nothing has changed.
func reconnect(c config) (results []result, err error) {
	for _, one := range []struct {
		name    string
		request func(token string) (head, rest string)
	}{
		{"`oolith.v1`", func(token string) (string, string) {
			return upgrade("/~/live", "Sec-WebSocket-Protocol: oolith.v1\r\n"), subscribe("a/*", token)
		}},
		{"events", func(token string) (string, string) {
			return get("/a/*", "Accept: text/event-stream\r\nLast-Event-ID: "+token+"\r\n"), ""
		}},
	} {
		s, err := newSide(c, "oolith")
		if err != nil {
			return nil, err
		}
		took, up, err := s.reconnect(c.conns, one.request)
		s.close()
		if err != nil {
			return nil, err
		}
		results = append(results,
			result{name: fmt.Sprintf("%d that come back at once, nothing changed: %s", c.conns, one.name), ours: fmt.Sprintf("%.1f s", took.Seconds()),
				goal: "at most 10 s", met: took <= 10*time.Second},
			result{name: "the same, memory with them, garbage included", ours: fmt.Sprintf("%.0f MB", float64(up)/1e6),
				goal: "at most 100 MB", met: up <= 100e6})
	}
	return results, nil
}

func (s *side) reconnect(n int, request func(token string) (head, rest string)) (time.Duration, int, error) {
	connect := func(n int, token string) ([]net.Conn, error) {
		head, rest := request(token)
		if rest == "" {
			return many(n, s.address, func(int) string { return head }, `"type":"live"`)
		}
		conns, err := many(n, s.address, func(int) string { return head }, "\r\n\r\n")
		if err == nil {
			err = ask(conns, rest, `"type":"live"`)
		}
		return conns, err
	}
	// All have the token of the last message.
	resp, err := dial(s.address, get("/a/*", "Accept: text/event-stream\r\n"))
	if err != nil {
		return 0, 0, err
	}
	token := ""
	for lines := bufio.NewScanner(resp); token == "" && lines.Scan(); {
		token, _ = strings.CutPrefix(lines.Text(), "id: ")
		if !strings.Contains(token, ".") || strings.Contains(token, " ") {
			token = ""
		}
	}
	if err := resp.Close(); err != nil || token == "" {
		return 0, 0, fmt.Errorf("there is no token: %w", err)
	}
	conns, err := connect(n, token)
	closeAll(conns)
	if err != nil {
		return 0, 0, err
	}
	for { // they are gone
		left, err := figureOf(s.address, "oolith_http_streams")
		if err != nil {
			return 0, 0, err
		}
		if left == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	before, err := s.memory(false)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	conns, err = connect(n, token)
	took := time.Since(began)
	defer closeAll(conns)
	if err != nil {
		return 0, 0, err
	}
	with, err := s.memory(true)
	return took, with - before, err
}
