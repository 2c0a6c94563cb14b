package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"time"
)

func kb(bytes int) string { return fmt.Sprintf("%.1f KB", float64(bytes)/1000) }

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }

// idle is what an idle subscriber costs a server.
func idle(c config) (results []result, err error) {
	const limit, limitEvents = 10_000, 12_000
	for _, one := range []struct {
		name, request, text string
		most                int
	}{
		{"the older protocol", upgrade("/b/*", ""), `"data":[]}`, limit},
		{"`oolith.v1`", upgrade("/~/live", "Sec-WebSocket-Protocol: oolith.v1\r\n") + subscribe("b/*", ""), `"live"`, limit},
		{"events over HTTP/1.1", get("/b/*", "Accept: text/event-stream\r\n"), `"live"`, limitEvents},
	} {
		s, err := newSide(c, "oolith")
		if err != nil {
			return nil, err
		}
		each, err := s.idle(c.conns, func() (func(), error) {
			// The handshake comes first; a request may not come before its answer.
			head, rest, _ := strings.Cut(one.request, "\r\n\r\n")
			conns, err := many(c.conns, s.address, func(int) string { return head + "\r\n\r\n" }, "\r\n\r\n")
			if err == nil && rest != "" {
				err = ask(conns, rest, one.text)
			}
			return func() { closeAll(conns) }, err
		})
		s.close()
		if err != nil {
			return nil, err
		}
		r := result{name: fmt.Sprintf("an idle subscriber of %d, memory of the process: %s", c.conns, one.name), ours: kb(each),
			goal: "at most " + kb(one.most), met: each <= one.most}
		results = append(results, r)
	}
	if !c.peers {
		return results, nil
	}
	for kind, to := range map[string]*string{"nats": &results[0].nats, "etcd": &results[0].etcd} {
		s, err := newSide(c, kind)
		if err != nil {
			return nil, err
		}
		n := min(c.conns, 500) // their clients cost more than their servers
		each, err := s.idle(n, func() (func(), error) { return s.follow(n, func(int, int64) {}) })
		s.close()
		if err != nil {
			return nil, err
		}
		*to = fmt.Sprintf("%s (of %d)", kb(each), n)
	}
	return results, nil
}

// ask sends something on many connections, each of which reads a text then.
func ask(conns []net.Conn, request, text string) error {
	errs := make([]error, 32)
	var all sync.WaitGroup
	for w := range errs {
		all.Go(func() {
			buffer := make([]byte, 256<<10)
			for i := w; i < len(conns); i += len(errs) {
				_, err := io.WriteString(conns[i], request)
				if err == nil {
					_, err = readUntil(conns[i], text, buffer)
				}
				if errs[w] = err; err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// idle is by how much each of so many followers makes the process larger.
func (s *side) idle(n int, follow func() (func(), error)) (int, error) {
	stop, err := s.follow(10, func(int, int64) {}) // what the first one costs is for all
	if err != nil {
		return 0, err
	}
	defer stop()
	before, err := s.memory(false)
	if err != nil {
		return 0, err
	}
	end, err := follow()
	defer end()
	if err != nil {
		return 0, err
	}
	time.Sleep(time.Second) // what writes ends
	after, err := s.memory(false)
	return (after - before) / n, err
}

// fanOut is how long it takes until all subscribers of a list have a write.
func fanOut(c config) ([]result, error) {
	r := result{name: fmt.Sprintf("one write to %d subscribers of a list of %d, all have it", c.fans, listed), goal: "at most 25 ms"}
	encodes := result{name: "the same, messages encoded for each write", goal: "1"}
	for _, one := range c.sides("oolith", &r.ours, &r.bare, &r.nats, &r.etcd) {
		s, err := newSide(c, one.kind)
		if err != nil {
			return nil, err
		}
		var w wave
		stop, err := s.follow(c.fans, func(_ int, mark int64) { w.saw(mark) })
		before := 0.0
		const metric = "oolith_stream_messages_encoded_total"
		if one.kind == "oolith" && err == nil {
			before, err = figureOf(s.address, metric)
		}
		var took []time.Duration
		writes := 20 * c.rounds
		for i := 0; i < writes && err == nil; i++ {
			w.begin(int64(i+1), c.fans)
			began := time.Now()
			if err = s.write(0, int64(i+1)); err == nil {
				err = w.wait()
			}
			took = append(took, time.Since(began))
		}
		if one.kind == "oolith" && err == nil {
			r.met = median(took) <= 25*time.Millisecond
			var after float64
			after, err = figureOf(s.address, metric)
			each := (after - before) / float64(writes)
			encodes.ours, encodes.met = fmt.Sprintf("%.2f", each), math.Abs(each-1) < 0.05
		}
		stop()
		s.close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.kind, err)
		}
		*one.to = fmt.Sprintf("%s, p99 %s", ms(median(took)), ms(quantile(took, 0.99)))
	}
	return []result{r, encodes}, nil
}

// contender is a kind of server, and where its figure goes.
type contender struct {
	kind string
	to   *string
}

func (c config) sides(oolith string, ours, bare, nats, etcd *string) []contender {
	all := []contender{{oolith, ours}, {"bare", bare}}
	if c.peers {
		all = append(all, contender{"nats", nats}, contender{"etcd", etcd})
	}
	return all
}

// stuck is what sockets that read nothing do to writers, and to memory.
func stuck(c config) ([]result, error) {
	const sockets, large, writers = 100, 8 << 10, 32
	with, err := newSide(c, "oolith durable")
	if err != nil {
		return nil, err
	}
	defer with.close()
	without, err := newSide(c, "oolith durable")
	if err != nil {
		return nil, err
	}
	defer without.close()
	for _, s := range []*side{with, without} { // one that reads: what it costs is not what the stuck ones do
		end, err := s.follow(1, func(int, int64) {})
		defer end()
		if err != nil {
			return nil, err
		}
	}
	fill := value(0)[:len(value(0))-1] + `,"fill":"` + strings.Repeat("x", large) + `"}`
	p99 := func(s *side) (time.Duration, error) {
		var took []time.Duration
		for began := time.Now(); time.Since(began) < c.round; {
			one := time.Now()
			if err := s.write(0, 1); err != nil {
				return 0, err
			}
			took = append(took, time.Since(one))
		}
		return quantile(took, 0.99), nil
	}
	var ratios []float64
	var costs, withs, withouts []float64
	for range c.rounds {
		var taken [2]time.Duration
		var grown [2]int
		for i, s := range []*side{with, without} {
			before, err := s.memory(false)
			if err != nil {
				return nil, err
			}
			var conns []net.Conn
			if s == with { // they are cut off after 10 s: each round has its own
				if conns, err = stuckSockets(s, sockets); err != nil {
					return nil, err
				}
			}
			errs := make([]error, writers)
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for range 1000 / writers { // 8 MB: more than the kernel holds for a socket
						errs[w] = errors.Join(errs[w], s.overwrite(w, fill))
					}
				})
			}
			all.Wait()
			if err := errors.Join(errs...); err != nil {
				return nil, err
			}
			if taken[i], err = p99(s); err != nil {
				return nil, err
			}
			after, err := s.memory(false)
			if err != nil {
				return nil, err
			}
			grown[i] = after - before
			closeAll(conns)
			if err := s.overwrite(0, value(0)); err != nil {
				return nil, err
			}
		}
		costs = append(costs, float64(grown[0]-grown[1])/sockets)
		withs, withouts = append(withs, float64(taken[0])), append(withouts, float64(taken[1]))
		ratios = append(ratios, float64(taken[0])/float64(taken[1]))
	}
	ratio, cost := median(ratios), int(median(costs))
	return []result{
		{name: fmt.Sprintf("%d stuck sockets, p99 of a durable write, beside none", sockets), goal: "at most 1.05 times", met: ratio <= 1.05,
			ours: fmt.Sprintf("%.2f times (%s, %s)", ratio, ms(time.Duration(median(withs))), ms(time.Duration(median(withouts))))},
		{name: "the same, memory for each stuck socket", ours: kb(cost), goal: "at most 64 KiB", met: cost <= 64<<10},
	}, nil
}

// stuckSockets follow a list of one object, read its state, and nothing more.
func stuckSockets(s *side, n int) ([]net.Conn, error) {
	if err := s.overwrite(0, value(0)); err != nil {
		return nil, err
	}
	return many(n, s.address, func(int) string { return upgrade("/one/*", "") }, `"mark":0}}]}`)
}

// requests is how many requests a second there are, beside a handler that does nothing.
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

// over is how many requests a second all callers make for a round.
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

// delivery is how long writes take to their subscribers, at a rate that a server has to bear.
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
		time.Sleep(time.Second) // what is under way arrives
		stop()
		s.close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.kind, err)
		}
		time.Sleep(100 * time.Millisecond) // the readers end
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

// paced makes calls at a rate, whatever each of them takes, up to the number of callers at a time.
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

// reconnect is how long it takes to serve all who come back at once, after nothing changed.
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
