// Package servertest has a server for tests in one line, with faults on its wire.
//
//	s := servertest.Start(t, server.Options{})
//	_, err := s.Client.Set(t.Context(), "a", []byte("1"), storage.SetOptions{})
//
// Server.Faults makes single exchanges go wrong, CutConnections all that are open, Stop the server, and Restart begins it anew
// over the same store.
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

// Server is a server on a port of this machine. It ends with its test.
type Server struct {
	// URL is its address, such as http://127.0.0.1:39569. It stays over a Restart.
	URL string
	// Store is what it serves. A Restart replaces it.
	Store *storage.Layered
	// Client is a client of it, without a token, that sends each request once.
	Client *client.Client
	// HTTP is what Client sends its requests by, for further clients: its connections end with the test.
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

// Start starts a server with options, of a store in memory. With a layer that is not started, the store is that of the layer with its
// objects in memory, and a Restart finds there what was written. Without a Logger the server logs nothing.
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

// Stop ends the server as a crash of its machine does for clients: connections are cut, and new ones refused. The store is
// closed. Stop of a server that is stopped does nothing.
func (s *Server) Stop() {
	s.t.Helper()
	if s.web == nil {
		return
	}
	err := s.web.Close()
	s.wire.cut()
	s.HTTP.CloseIdleConnections() // a request behind this begins with a new one
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		s.t.Errorf("the server ended: %v", ended)
	}
	if err != nil {
		s.t.Errorf("the server does not close: %v", err)
	}
	s.Handler.Close()
	s.Store.Close()
	s.web = nil
}

// Restart stops the server, if it is not stopped, and starts it again at the same address, over the same layer. A store in
// memory is another one then, and empty.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.begin()
}

// CutConnections closes all connections of clients, as a network does that fails: streams too. New ones are taken.
func (s *Server) CutConnections() { s.wire.cut() }

// Faults lets a function choose what goes wrong with each request that arrives from now on; nil for nothing. It may be
// called from several goroutines at a time.
func (s *Server) Faults(choose func(r *http.Request) Fault) { s.wire.choose.Store(&choose) }
