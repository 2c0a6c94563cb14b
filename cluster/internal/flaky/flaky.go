// Package flaky simulates a faulty network, for tests and for proof.
package flaky

import (
	"net"
	"sync"
)

// Proxy is a connection to a member that can be cut.
type Proxy struct {
	listener net.Listener
	dial     func() (net.Conn, error)

	mu    sync.Mutex // guards the fields below
	conns map[net.Conn]struct{}
	off   bool // nothing passes, and nothing is rejected: packets are lost
	flow  *sync.Cond
	work  sync.WaitGroup
}

// Start starts a proxy to the address of a member.
func Start(target string) (*Proxy, error) {
	return StartFrom(func() (net.Conn, error) { return net.Dial("tcp", target) })
}

// StartFrom starts a proxy to what dial connects to.
func StartFrom(dial func() (net.Conn, error)) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, dial: dial, conns: make(map[net.Conn]struct{})}
	p.flow = sync.NewCond(&p.mu)
	p.work.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.serve(in) })
		}
	})
	return p, nil
}

// Close ends the proxy.
func (p *Proxy) Close() {
	_ = p.listener.Close() // there is nobody to report it to
	p.SetOff(false)
	p.Cut()
	p.work.Wait()
}

// Addr returns the address for clients.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

func (p *Proxy) serve(in net.Conn) {
	out, err := p.dial()
	if err != nil {
		_ = in.Close()
		return
	}
	p.mu.Lock()
	p.conns[in], p.conns[out] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(in, out) })
	both.Go(func() { p.copy(out, in) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, in)
	delete(p.conns, out)
}

// copy forwards data until one side is closed.
func (p *Proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		for p.off {
			p.flow.Wait()
		}
		p.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// SetOff stops all traffic, like a network that loses all packets, or lets it continue.
func (p *Proxy) SetOff(off bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = off
	p.flow.Broadcast()
}
