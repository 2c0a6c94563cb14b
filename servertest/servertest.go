// Package servertest starts a server for a test in one line, with network faults on demand.
//
//	s := servertest.Start(t, server.Options{})
//	_, err := s.Client.Set(t.Context(), "a", []byte("1"), storage.SetOptions{})
//
// Server.Faults breaks single exchanges and CutConnections all open ones. Stop stops the server, and Restart starts
// it again over the same store.
package servertest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/storage"
)

// Server is a server on a port of this machine. It stops at the end of its test.
type Server struct {
	// URL is its address, such as http://127.0.0.1:39569. Restart keeps it.
	URL string
	// Store is the served store. Restart replaces it.
	Store *storage.Layered
	// Client is a client of the server, without a token. It sends each request once.
	Client *client.Client
	// HTTP is the HTTP client of Client, for further clients. Its connections are closed at the end of the test.
	HTTP *http.Client
	// Handler is the server itself. A Restart replaces it.
	Handler *server.Server

	t     testing.TB
	opt   server.Options
	layer storage.EmbeddedLayer // nil for a store in memory
	wire  *wire
	addr  string
	web   *http.Server // nil when it is stopped
	ended chan error   // what web.Serve returned
}

// Start starts a server with a store in memory. With a layer that is not started, the store uses that layer with its
// objects in memory, and Restart keeps what was written. Without a Logger the server logs nothing.
func Start(t testing.TB, opt server.Options, layer ...storage.EmbeddedLayer) *Server {
	t.Helper()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	transport := &http.Transport{}
	s := &Server{t: t, opt: opt, wire: newWire(), addr: "127.0.0.1:0", HTTP: &http.Client{Transport: transport}}
	if len(layer) > 0 {
		s.layer = layer[0]
	}
	s.begin()
	t.Cleanup(func() {
		s.Stop()
		transport.CloseIdleConnections()
	})
	var err error
	if s.Client, err = client.New(s.URL, client.Options{HTTP: s.HTTP}); err != nil {
		t.Fatal(err)
	}
	return s
}

// begin opens the store and the port.
func (s *Server) begin() {
	s.t.Helper()
	s.Store = storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: s.layer})
	if err := s.Store.Start(storage.Options{NoBroadcastKeys: []string{server.Reserved}, Logger: s.opt.Logger}); err != nil {
		s.t.Fatal(err)
	}
	var listening net.ListenConfig
	listener, err := listening.Listen(context.Background(), "tcp", s.addr)
	if err != nil {
		s.Store.Close()
		s.t.Fatal(err)
	}
	s.addr, s.URL = listener.Addr().String(), "http://"+listener.Addr().String()
	s.Handler = server.New(s.Store, s.opt)
	s.web = &http.Server{
		Handler: s.wire.handler(s.Handler),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, wiredKey{}, conn)
		},
		ErrorLog: slog.NewLogLogger(s.opt.Logger.Handler(), slog.LevelDebug),
	}
	s.ended = make(chan error, 1)
	go func(web *http.Server, ended chan error) { ended <- web.Serve(listenOn(listener, s.wire)) }(s.web, s.ended)
}

// Stop stops the server. Clients see it like a crash of its machine: connections are cut and new ones refused. Stop
// closes the store. It does nothing if the server is already stopped.
func (s *Server) Stop() {
	s.t.Helper()
	if s.web == nil {
		return
	}
	err := s.web.Close()
	s.wire.cut()
	s.HTTP.CloseIdleConnections() // later requests use new connections
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		s.t.Errorf("the server stopped: %v", ended)
	}
	if err != nil {
		s.t.Errorf("the server does not close: %v", err)
	}
	s.Handler.Close()
	s.Store.Close()
	s.web = nil
}

// Restart stops the server, unless it is stopped, and starts it again at the same address and over the same layer. A
// store in memory starts empty.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.begin()
}

// CutConnections closes all client connections, including streams, like a network failure. New connections are
// accepted.
func (s *Server) CutConnections() { s.wire.cut() }

// Faults sets a function that chooses the fault for each request that arrives from now on; nil for none. The function
// may be called concurrently.
func (s *Server) Faults(choose func(r *http.Request) Fault) { s.wire.choose.Store(&choose) }
