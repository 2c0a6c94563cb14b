package main

import (
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

// idle measures the cost of an idle subscriber to a server.
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
			// The handshake comes first; a request must not come before its answer.
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

// ask sends a request on many connections, and then reads until a text on each.
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

// idle measures how much larger each of n followers makes the process.
func (s *side) idle(n int, follow func() (func(), error)) (int, error) {
	stop, err := s.follow(10, func(int, int64) {}) // excludes the fixed cost of the first ones
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
	time.Sleep(time.Second) // lets background writes end
	after, err := s.memory(false)
	return (after - before) / n, err
}

// fanOut measures how long it takes until all subscribers of a list have a write.
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

// contender is a kind of server, and the place of its figure.
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

// stuck measures the effect of sockets that read nothing on writers, and on memory.
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
	for _, s := range []*side{with, without} { // a reading follower: its cost does not count as an effect of the stuck ones
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
			if s == with { // they are disconnected after 10 s: each round has its own
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
