// Package servertest has a server for tests in one line.
//
//	store := servertest.Start(t, server.Options{})
//	_, err := store.Client.Set(t.Context(), "a", []byte("1"), storage.SetOptions{})
package servertest

import (
	"log/slog"
	"maps"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// Server is a server of a store in memory, on a port of this machine. It ends with its test.
type Server struct {
	// URL is its address, such as http://127.0.0.1:39569.
	URL string
	// Store is what it serves.
	Store *storage.Layered
	// Client is a client of it, without a token.
	Client *client.Client
	// Handler is the server itself.
	Handler *server.Server

	listening *httptest.Server
	wire      *wire
}

// wire is a listener that can cut its connections, those that the server took over for streams too.
type wire struct {
	net.Listener
	mu   sync.Mutex // guards open
	open map[net.Conn]bool
}

func (w *wire) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	kept := &wired{conn, w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[kept] = true
	return kept, nil
}

type wired struct {
	net.Conn
	wire *wire
}

func (c *wired) Close() error {
	c.wire.mu.Lock()
	delete(c.wire.open, c)
	c.wire.mu.Unlock()
	return c.Conn.Close()
}

// Start starts a server with options. Without a Logger it logs nothing.
func Start(t testing.TB, opt server.Options) *Server {
	t.Helper()
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()})
	if err := store.Start(storage.Options{NoBroadcastKeys: []string{server.Reserved}}); err != nil {
		t.Fatal(err)
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{Store: store, Handler: server.New(store, opt)}
	s.listening = httptest.NewUnstartedServer(s.Handler)
	s.wire = &wire{Listener: s.listening.Listener, open: map[net.Conn]bool{}}
	s.listening.Listener = s.wire
	s.listening.Start()
	s.URL = s.listening.URL
	t.Cleanup(func() {
		s.Handler.Close()
		s.listening.Close()
		store.Close()
	})
	var err error
	if s.Client, err = client.New(s.URL, client.Options{HTTP: s.listening.Client()}); err != nil {
		t.Fatal(err)
	}
	return s
}

// CutConnections closes all connections of clients, as a network does that fails: streams too. New ones are taken.
func (s *Server) CutConnections() {
	s.wire.mu.Lock()
	open := slices.Collect(maps.Keys(s.wire.open))
	s.wire.mu.Unlock()
	for _, conn := range open {
		_ = conn.Close() // it is to fail
	}
}
