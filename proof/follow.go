package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/key"
)

// follower is a client that follows some patterns over one protocol, reconnects whenever it is disconnected, and
// checks every message.
type follower struct {
	protocol streamProtocol
	address  string
	patterns []string
	rng      *rand.Rand
	slow     bool // it sometimes stops reading

	messages atomic.Int64
	calm     atomic.Bool // it no longer cuts its connections or stops reading

	mu       sync.Mutex // guards the fields below
	held     map[string]*seen
	revision uint64     // of the last message
	token    string     // to resume with; in the older protocol, the version
	wire     *wireState // of the older protocol; nil until there is one
	cuts     int
	pauses   int
	states   int
	caughtUp int
}

// seen is a client's knowledge of a key.
type seen struct {
	number
	sure bool // the number is that of the key's last change, not of an older one
}

// streamProtocol defines how a client talks to the server.
type streamProtocol interface {
	name() string
	// follow connects, and processes messages until the connection ends. An error other than broken is a violation.
	follow(f *follower, conn net.Conn) error
}

// broken is the end of a connection, which may happen at any time.
type broken struct{ error }

// streamObject is an object of the campaign.
type streamObject struct {
	Path     string
	Revision uint64
	Data     struct{ N uint64 }
}

func newFollowers(seed uint64, address string) []*follower {
	var all []*follower
	add := func(p streamProtocol, patterns ...string) {
		n := len(all)
		all = append(all, &follower{
			protocol: p, address: address, patterns: patterns, rng: rand.New(rand.NewPCG(seed, uint64(n))),
			slow: n%3 == 0, held: map[string]*seen{},
		})
	}
	for i := range 4 {
		writer := fmt.Sprintf("s/%d/*", i%streamWriters)
		add(socketProtocol{}, "s/**")
		add(socketProtocol{}, "s/*/*", writer, "elsewhere/*")
		add(socketProtocol{}, "s/*/1", "s/*/2", "s/0/*")
		add(eventsProtocol{}, "s/**")
		add(eventsProtocol{}, "s/*/*", writer)
		add(eventsProtocol{}, writer)
		add(wireProtocol{}, "s/*/*")
		add(wireProtocol{}, "s/*/*")
		add(wireProtocol{}, writer)
		add(wireProtocol{}, fmt.Sprintf("s/%d/%d", i%streamWriters, i%streamKeys))
	}
	return all
}

// run follows until the context ends, or a violation occurs.
func (f *follower) run(ctx context.Context) error {
	for ctx.Err() == nil {
		conn, err := net.DialTimeout("tcp", f.address, time.Second)
		if err != nil {
			time.Sleep(5 * time.Millisecond) // the server is restarting
			continue
		}
		over := context.AfterFunc(ctx, func() { _ = conn.Close() })
		err = f.protocol.follow(f, f.breakable(conn))
		over()
		_ = conn.Close()
		var end broken
		if err != nil && !errors.As(err, &end) {
			return fmt.Errorf("%s of %s: %w", f.protocol.name(), strings.Join(f.patterns, ", "), err)
		}
	}
	return nil
}

// breakable is a connection that is cut at some byte. A slow client sometimes does not read from it for a while.
func (f *follower) breakable(conn net.Conn) net.Conn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(16 << 10) // for the slow clients; the others read at once
	}
	left := 1 << 40
	if f.rng.IntN(4) > 0 {
		left = 200 + f.rng.IntN(1<<f.rng.IntN(22))
	}
	return &breakable{Conn: conn, f: f, left: left}
}

type breakable struct {
	net.Conn
	f    *follower
	left int
}

func (b *breakable) Read(p []byte) (int, error) {
	calm := b.f.calm.Load()
	if b.left <= 0 && !calm {
		b.f.count(&b.f.cuts)
		_ = b.Close()
		return 0, net.ErrClosed
	}
	if b.f.slow && !calm && b.f.rng.IntN(200) == 0 {
		b.f.count(&b.f.pauses)
		time.Sleep(time.Duration(b.f.rng.IntN(400)) * time.Millisecond)
	}
	if !calm && len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.Conn.Read(p)
	b.left -= n
	return n, err
}

func (f *follower) count(what *int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*what++
}

// of returns the knowledge of a key.
func (f *follower) of(path string) *seen {
	s := f.held[path]
	if s == nil {
		s = &seen{}
		f.held[path] = s
	}
	return s
}

// changed processes a change of a key: its number must be the next one.
func (f *follower) changed(path string, n uint64) error {
	s := f.of(path)
	if s.sure && n != s.n+1 || n <= s.n {
		return fmt.Errorf("%s changes to %d behind %d (sure: %v)", path, n, s.n, s.sure)
	}
	*s = seen{number{n, true}, true}
	return nil
}

// removed processes a delete of a key, which must have the next number.
func (f *follower) removed(path string) error {
	s := f.of(path)
	if !s.there {
		return fmt.Errorf("%s is deleted, and was not there (%d, sure: %v)", path, s.n, s.sure)
	}
	s.n, s.there = s.n+1, false
	return nil
}

// is processes a key of a state: it may be newer, but never older.
func (f *follower) is(path string, n uint64) error {
	s := f.of(path)
	if n < s.n || n == s.n && !s.there {
		return fmt.Errorf("a state has %s at %d behind %d (there: %v)", path, n, s.n, s.there)
	}
	*s = seen{number{n, true}, true}
	return nil
}

// onlyThese records that no other key of a pattern exists. A key may have been created and deleted meanwhile.
func (f *follower) onlyThese(pattern string, there map[string]bool) {
	for path, s := range f.held {
		if !there[path] && key.Match(pattern, path) {
			s.there, s.sure = false, false
		}
	}
}

// differs describes how the client's content differs from what the writers wrote; nil if it does not.
func (f *follower) differs(want map[string]number) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for path, n := range want {
		if !key.Contains(f.patterns, path) {
			continue
		}
		if s := f.held[path]; s == nil && n.there || s != nil && (s.there != n.there || n.there && s.n != n.n || s.n > n.n) {
			return fmt.Errorf("%s of %s holds %s as %+v, written was %+v", f.protocol.name(), strings.Join(f.patterns, ", "), path, s, n)
		}
	}
	for path, s := range f.held {
		if _, written := want[path]; s.there && !written {
			return fmt.Errorf("%s of %s holds %s, which nobody wrote", f.protocol.name(), strings.Join(f.patterns, ", "), path)
		}
	}
	return nil
}

// ours is a message of oolith.v1, or of an event.
type ours struct {
	Type, Token, Since, Code, Detail string

	Revision      uint64
	Subscriptions []struct {
		Pattern string
		Objects []streamObject
		Paths   []string
		Changes []struct {
			Set *streamObject
			Del string
		}
	}
}

// take checks and processes a message of our own protocols.
func (f *follower) take(m *ours) error {
	f.messages.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case m.Type == "reset" && m.Token == "":
		return nil // the following state replaces the content
	case m.Token == "":
		return fmt.Errorf("a %s without a token", m.Type)
	case m.Type == "patch" && m.Revision <= f.revision, m.Revision < f.revision:
		return fmt.Errorf("a %s of revision %d behind %d", m.Type, m.Revision, f.revision)
	case m.Type == "catchup" && m.Since != f.token:
		return fmt.Errorf("a catch-up since %s, expected %s", m.Since, f.token)
	}
	// A key that several patterns match changes only once.
	changed := map[string]uint64{}
	for _, part := range m.Subscriptions {
		for _, obj := range part.Objects {
			if obj.Revision > m.Revision {
				return fmt.Errorf("a %s of revision %d has %s at %d", m.Type, m.Revision, obj.Path, obj.Revision)
			}
			if err := f.is(obj.Path, obj.Data.N); err != nil {
				return err
			}
		}
		switch m.Type {
		case "snapshot":
			f.states++
			there := map[string]bool{}
			for _, obj := range part.Objects {
				there[obj.Path] = true
			}
			f.onlyThese(part.Pattern, there)
		case "catchup":
			f.caughtUp++
			there := map[string]bool{}
			for _, path := range part.Paths {
				there[path] = true
				if !f.of(path).there {
					return fmt.Errorf("a catch-up says that %s did not change, which is not held", path)
				}
			}
			f.onlyThese(part.Pattern, there)
		}
		for _, ch := range part.Changes {
			if err := f.change(changed, ch.Set, ch.Del); err != nil {
				return fmt.Errorf("revision %d: %w", m.Revision, err)
			}
		}
	}
	f.revision, f.token = m.Revision, m.Token
	return nil
}

func (f *follower) change(changed map[string]uint64, set *streamObject, del string) error {
	path, n := del, uint64(0)
	if set != nil {
		path, n = set.Path, set.Data.N
	}
	if before, twice := changed[path]; twice {
		if before != n {
			return fmt.Errorf("one commit tells two patterns of %s at %d and %d", path, before, n)
		}
		return nil
	}
	changed[path] = n
	if set != nil {
		return f.changed(path, n)
	}
	return f.removed(path)
}

// lineReader reads a line-based protocol.
func lineReader(conn net.Conn) *bufio.Reader { return bufio.NewReaderSize(conn, 4<<10) }

func decode(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %.200s", err, data)
	}
	return nil
}
